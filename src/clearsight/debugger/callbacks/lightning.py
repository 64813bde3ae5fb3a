"""The hook as a callback of Lightning: `Trainer(callbacks=[DebuggerCallback("runs/mine")])`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from clearsight.core.errors import missing_extra
from clearsight.debugger.hook import Hook

_VALIDATION = ("val_loss", "valid_loss", "validation_loss")


def DebuggerCallback(out: Path | str, **options: Any) -> Any:  # noqa: N802 - used like the class that it makes
    """A Lightning callback that watches the module under training; `callback.hook` is the Hook, once training began.

    options: those of Hook; steps and epochs come from the trainer where they are not given.
    What is watched is the one child of the LightningModule that has parameters, or the LightningModule itself where
    several have. Losses that are modules (`self.loss = nn.CrossEntropyLoss()`) give losses and predictions themselves.
    Otherwise the loss is what `training_step` returns, the validation loss what `validation_step` returns or what is
    logged as val_loss, and predictions are seen where a step returns "logits" and "labels" in its dictionary.
    With manual optimization of several optimizers steps are forward passes.
    Raises MissingExtra where Lightning is not installed.
    """
    return _debugger(_callback_class())(out, options)


def _debugger(base: Any) -> Any:
    class Debugger(base):  # type: ignore[misc]
        """Watches from the first training step to the end of `fit`."""

        def __init__(self, out: Path | str, options: Mapping[str, Any]) -> None:
            super().__init__()
            self.hook: Hook | None = None
            self._out, self._options = out, options
            self._functional = self._validated = False

        def on_train_start(self, trainer: Any, module: Any) -> None:
            losses = [part for part in module.modules() if isinstance(part, nn.modules.loss._Loss)]
            single = trainer.optimizers[0] if len(trainer.optimizers) == 1 else None
            self.hook = Hook(self._out, **{**_planned(trainer), **self._options})
            self.hook.watch(watched_part(module), losses or None, single)
            self._functional = not losses

        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            if self.hook is not None:
                self.hook.start_epoch(trainer.current_epoch + 1)

        def on_before_backward(self, trainer: Any, module: Any, loss: Tensor) -> None:
            if self.hook is not None and self._functional:
                self.hook.record(loss=loss.detach() * trainer.accumulate_grad_batches)  # it comes divided by that

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if self.hook is not None and self._functional and isinstance(outputs, Mapping):
                self.hook.record(logits=outputs.get("logits"), labels=outputs.get("labels"))

        def on_validation_batch_end(
            self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
        ) -> None:
            if self.hook is None or not self._functional:
                return
            told = outputs if isinstance(outputs, Mapping) else {"loss": outputs}
            loss = told.get("loss")
            self._validated = self._validated or isinstance(loss, Tensor)
            self.hook.record(loss=loss, logits=told.get("logits"), labels=told.get("labels"))

        def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
            seen = trainer.callback_metrics
            value = next((seen[name] for name in _VALIDATION if name in seen), None)
            if self.hook is not None and self._functional and not self._validated and value is not None:
                self.hook.save_scalar("loss", value)

        def on_fit_end(self, trainer: Any, module: Any) -> None:
            if self.hook is not None:
                self.hook.close()

        def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
            if self.hook is not None:
                self.hook.__exit__(type(exception), exception, None)

    return Debugger


def watched_part(module: nn.Module) -> nn.Module:
    """The network of a LightningModule: its one child with parameters, else the module itself."""
    parts = [child for child in module.children() if next(child.parameters(), None) is not None]
    own = next(module.parameters(recurse=False), None)
    return parts[0] if len(parts) == 1 and own is None else module


def _planned(trainer: Any) -> dict[str, Any]:
    steps, epochs = trainer.estimated_stepping_batches, trainer.max_epochs
    known = isinstance(steps, int) and steps > 0
    return {"steps": steps if known else 0, "epochs": epochs if known and epochs and epochs > 0 else 0}


def _callback_class() -> Any:
    for package in ("lightning.pytorch", "pytorch_lightning"):
        try:
            return importlib.import_module(package).Callback
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != package.partition(".")[0]:
                raise
    raise missing_extra("lightning", "lightning", "the Lightning callback")
