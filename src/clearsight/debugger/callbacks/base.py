"""HookCallback: base of the callbacks that watch the training of another library's trainer."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from clearsight.core.errors import MissingExtra
from clearsight.debugger.hook import Hook, Losses


class HookCallback:
    """Owns a Hook from the beginning of a training to its end.

    hook: None until the training began.  options: those of Hook; they precede what the trainer plans.
    """

    def __init__(self, out: Path | str, options: Mapping[str, Any]) -> None:
        super().__init__()  # of the trainer's own base class, which stands behind this one
        self.hook: Hook | None = None
        self._out, self._options = out, options

    def start(
        self, planned: Mapping[str, Any], model: nn.Module, losses: Losses = None, optimizer: Optimizer | None = None
    ) -> None:
        """Begin to watch the model. planned: arguments of Hook that follow from the trainer's settings."""
        self.hook = Hook(self._out, **{**planned, **self._options})
        self.hook.watch(model, losses, optimizer)

    def start_epoch(self, number: int) -> None:
        """Begin epoch `number`, from 1."""
        if self.hook is not None:
            self.hook.start_epoch(number)

    def close(self, error: BaseException | None = None) -> None:
        """End the watching, with the error that ended the training, if one did."""
        if self.hook is not None:
            self.hook.__exit__(type(error) if error is not None else None, error, None)


def make_callback(
    kind: type[HookCallback], bases: Sequence[str], missing: MissingExtra, out: Path | str, options: Mapping[str, Any]
) -> Any:
    """Return a callback of `kind` that is also an instance of the trainer's own base class.

    bases: "package.module:Class", of which the first that is installed counts.  missing: raised where none is.
    """
    for base in bases:
        module, _, name = base.partition(":")
        try:
            found = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != module.partition(".")[0]:
                raise  # the package is installed, and something that it needs is not
            continue
        # The class is made here, because its base exists only where the trainer's package is installed.
        return type(kind.__name__, (kind, found), {"__module__": kind.__module__})(out, options)
    raise missing
