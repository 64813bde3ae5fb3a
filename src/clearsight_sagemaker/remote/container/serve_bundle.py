"""Functions of an inference container that serve the bundle around this folder."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

# In a process of its own: this module is imported by several workers, and pip changes the process that it runs in.
subprocess.run([sys.executable, str(Path(__file__).with_name("install_clearsight.py"))], check=True)
importlib.invalidate_caches()

from clearsight.workflow.inference import input_fn, model_fn, output_fn, predict_fn  # noqa: E402 - installed above

__all__ = ["input_fn", "model_fn", "output_fn", "predict_fn"]
