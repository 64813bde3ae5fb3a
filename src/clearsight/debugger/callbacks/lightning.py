"""Callback of Lightning: `Trainer(callbacks=[DebuggerCallback("runs/mine")])`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from clearsight.core.errors import missing_extra
from clearsight.debugger.callbacks.base import HookCallback, make_callback

_BASES = ("lightning.pytorch:Callback", "pytorch_lightning:Callback")  # the package of today, and its former name
_VALIDATION = ("val_loss", "valid_loss", "validation_loss")  # names under which people log it


def DebuggerCallback(out: Path | str, **options: Any) -> Any:  # noqa: N802 - used like the class that it makes
    """Return a Lightning callback that watches the module under training; `callback.hook` is the Hook, once it began.

    options: those of Hook; steps and epochs come from the trainer where they are not given.
    It watches the one child of the LightningModule that has parameters, or the LightningModule itself where several
    have. Losses that are modules (`self.loss = nn.CrossEntropyLoss()`) give losses and predictions themselves.
    Otherwise the loss is what `training_step` returns, the validation loss what `validation_step` returns or what is
    logged as val_loss, and predictions are those that a step returns as "logits" and "labels" in its dictionary.
    With manual optimization of several optimizers steps are forward passes.
    Raises MissingExtra where Lightning is not installed.
    """
    missing = missing_extra("lightning", "lightning", "the Lightning callback")
    return make_callback(LightningDebugger, _BASES, missing, out, options)


class LightningDebugger(HookCallback):
    """Watches from the first training step to the end of `fit`."""

    def __init__(self, out: Path | str, options: Mapping[str, Any]) -> None:
        super().__init__(out, options)
        self._is_functional = False  # the loss is no module: it is read from what the steps return
        self._has_validation_loss = False

    def on_train_start(self, trainer: Any, module: Any) -> None:
        losses = [part for part in module.modules() if isinstance(part, nn.modules.loss._Loss)]
        single = trainer.optimizers[0] if len(trainer.optimizers) == 1 else None
        self.start(_planned(trainer), watched_part(module), losses or None, single)
        self._is_functional = not losses

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self.start_epoch(trainer.current_epoch + 1)

    def on_before_backward(self, trainer: Any, module: Any, loss: Tensor) -> None:
        if self.hook is not None and self._is_functional:
            # Lightning divides the loss by the number of accumulated batches before it gets here.
            self.hook.record(loss=loss.detach() * trainer.accumulate_grad_batches)

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.hook is not None and self._is_functional and isinstance(outputs, Mapping):
            self.hook.record(logits=outputs.get("logits"), labels=outputs.get("labels"))

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self.hook is None or not self._is_functional:
            return
        values = outputs if isinstance(outputs, Mapping) else {"loss": outputs}
        loss = values.get("loss")
        self._has_validation_loss = self._has_validation_loss or isinstance(loss, Tensor)
        self.hook.record(loss=loss, logits=values.get("logits"), labels=values.get("labels"))

    def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
        logged = trainer.callback_metrics
        value = next((logged[name] for name in _VALIDATION if name in logged), None)
        is_missing = self._is_functional and not self._has_validation_loss
        if self.hook is not None and is_missing and value is not None:
            self.hook.save_scalar("loss", value)

    def on_fit_end(self, trainer: Any, module: Any) -> None:
        self.close()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        self.close(exception)


def watched_part(module: nn.Module) -> nn.Module:
    """Return the network of a LightningModule: its one child with parameters, else the module itself."""
    parts = [child for child in module.children() if next(child.parameters(), None) is not None]
    parameter = next(module.parameters(recurse=False), None)
    return parts[0] if len(parts) == 1 and parameter is None else module


def _planned(trainer: Any) -> dict[str, Any]:
    steps, epochs = trainer.estimated_stepping_batches, trainer.max_epochs
    is_known = isinstance(steps, int) and steps > 0  # it is infinite for a trainer without an end
    return {"steps": steps if is_known else 0, "epochs": epochs if is_known and epochs and epochs > 0 else 0}
