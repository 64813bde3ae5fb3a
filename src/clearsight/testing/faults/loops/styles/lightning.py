"""Style of Lightning: a LightningModule and a Trainer, with the debugger as a callback.

Where the network is `regnet` the loss is a module of the LightningModule; the others call functions, as in Lightning's
introduction. Source: lightning.ai/docs/pytorch/stable/starter/introduction.html
"""

from __future__ import annotations

import logging
from typing import Any

import lightning
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader

from clearsight.debugger.callbacks.lightning import DebuggerCallback
from clearsight.testing.faults.loops import statements
from clearsight.testing.faults.loops.setup import LoopOutcome, LoopScript

_LOSS_MODULE = ("regnet",)


class LitClassifier(lightning.LightningModule):
    """Image classifier. accuracies: of each validation that a training preceded."""

    def __init__(self, script: LoopScript) -> None:
        super().__init__()
        self.net = statements.finished(script)
        self.loss = statements.criterion(script) if script.network in _LOSS_MODULE else None
        self.accuracies: list[float] = []
        self._script = script
        self._change = statements.BatchFault(script.fault)
        self._correct, self._count = 0, 0

    def _loss_of(self, logits: Tensor, y: Tensor) -> Tensor:
        inputs = statements.loss_inputs(self._script, logits)
        if self.loss is None:
            return statements.function_loss(self._script, inputs, y)
        value: Tensor = self.loss(inputs, y)
        return value

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = self._change(*batch)
        loss = self._loss_of(self.net(x), y)
        self.log("train_loss", loss)
        return statements.changed_loss(self._script.fault, loss, len(x))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        logits = self.net(x)
        self.log("val_loss", self._loss_of(logits, y))
        self._correct += int((logits.argmax(dim=1) == y).sum())
        self._count += len(y)

    def on_validation_epoch_end(self) -> None:
        accuracy = self._correct / self._count
        self.log("val_acc", accuracy)
        if not self.trainer.sanity_checking:
            self.accuracies.append(accuracy)
        self._correct, self._count = 0, 0

    def configure_optimizers(self) -> Any:
        optimizer = statements.make_optimizer(self._script, self.net)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = statements.faulty_schedule(self._script, optimizer, steps)
        scheduler, interval = schedule or (CosineAnnealingLR(optimizer, T_max=steps), "batch")
        if interval == "never":
            return optimizer
        interval_of_lightning = "step" if interval == "batch" else "epoch"
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": interval_of_lightning}}


def train(script: LoopScript) -> LoopOutcome:
    """Run the script."""
    settings = script.settings
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    train_loader = DataLoader(script.train, batch_size=settings.batch_size, **script.order)
    val_loader = DataLoader(script.valid, batch_size=80)
    model = LitClassifier(script)
    trainer = lightning.Trainer(
        max_epochs=settings.epochs,
        accelerator="cpu",
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.clip,
        callbacks=[DebuggerCallback(script.out)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, train_loader, val_loader)
    return LoopOutcome(model=model.net, accuracies=tuple(model.accuracies))
