"""Folder of the distribution `smdebug`, which is put on PYTHONPATH of jobs, of their rules and of clients."""

from __future__ import annotations

from pathlib import Path

SMDEBUG_FOLDER = Path(__file__).parent / "smdebug_distribution"
