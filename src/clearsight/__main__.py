"""Entry point of `python -m clearsight`, which torchrun starts."""

from __future__ import annotations

import sys

from clearsight.cli import main

sys.exit(main())
