"""`python -m clearsight`, which is how torchrun starts it."""

from __future__ import annotations

import sys

from clearsight.cli import main

sys.exit(main())
