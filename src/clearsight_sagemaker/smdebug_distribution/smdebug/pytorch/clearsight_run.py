"""ClearsightRun: clearsight's own recording of a job, beside the tensors of smdebug.

Inside a job the environment has clearsight. Then clearsight's hook watches the registered module and writes a run
folder that `clearsight debug` and `clearsight report` open. It records on its own, light capture, rather than reading
what smdebug saved, for three reasons: smdebug's schedule often saves one or two steps, which no rule can judge; its
steps are forward passes, those of clearsight optimizer steps; and its format has no predictions, learning rates or
statistics. Values of `save_scalar` and `save_tensor` go into both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from smdebug.core import environment
from smdebug.core.logger import get_logger
from smdebug.core.modes import ModeKeys


class ClearsightRun:
    """Runs clearsight's hook; without clearsight, without a folder, or after its refusal every call does nothing."""

    def __init__(self, out_dir: str) -> None:
        self._hook: Any = None
        folder = environment.run_folder(out_dir)
        if folder is None:
            return
        try:
            import clearsight
        except ImportError:
            return
        try:
            self._hook = clearsight.Hook(folder, save="light", quiet=True)
        except clearsight.ClearsightError as error:
            get_logger().warning(f"clearsight records nothing beside smdebug: {error}")

    def watch(self, module: Any) -> None:
        """Watch the registered module. Losses are seen where torch computes them."""
        if self._hook is None:
            return
        import clearsight

        try:
            self._hook.watch(module)
        except clearsight.ClearsightError as error:
            get_logger().warning(f"clearsight records nothing beside smdebug: {error}")
            self._hook = None

    @property
    def replaying(self) -> bool:
        """True while clearsight computes a forward pass of its own, which is no step of the script."""
        return self._hook is not None and bool(self._hook.replaying)

    def set_mode(self, mode: ModeKeys) -> None:
        """Pass on the mode; GLOBAL leaves it to the model."""
        if self._hook is not None:
            self._hook.set_mode(None if mode is ModeKeys.GLOBAL else mode.name.lower())

    def save_scalar(self, name: str, value: float) -> None:
        if self._hook is not None:
            self._hook.save_scalar(name, value)

    def save_tensor(self, name: str, value: Any) -> None:
        """Pass on a tensor, or what can become one; texts have no place in clearsight's files."""
        if self._hook is None:
            return
        import torch

        array = value if isinstance(value, torch.Tensor) else np.asarray(value)
        if isinstance(array, torch.Tensor) or array.dtype.kind in "biuf":
            self._hook.save_tensor(name, torch.as_tensor(array))

    def close(self) -> None:
        if self._hook is not None:
            self._hook.close()
