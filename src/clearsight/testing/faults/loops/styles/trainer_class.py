"""Style of notebooks on Kaggle: a class with fit, train_one_epoch and evaluate, and the metric of scikit-learn.

The hook gets the model alone, as an author writes who does not think of the optimizer.
Source: kaggle.com/code/shonenkov/training-efficientdet, class Fitter
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from sklearn.metrics import accuracy_score
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader

import clearsight
from clearsight.testing.faults.loops import statements, unseen_statements
from clearsight.testing.faults.loops.setup import LoopOutcome, LoopScript


class RunningAverage:
    """Average of the values so far, by their number of images."""

    def __init__(self) -> None:
        self.sum, self.count = 0.0, 0

    def update(self, value: float, n: int) -> None:
        self.sum += value * n
        self.count += n

    @property
    def avg(self) -> float:
        return self.sum / max(1, self.count)


class Fitter:
    """Training of a classifier, with the best state in memory."""

    def __init__(self, script: LoopScript, model: nn.Module, steps_per_epoch: int) -> None:
        self.script, self.fault = script, script.fault
        self.model = model
        self.criterion = unseen_statements.criterion(script)
        self.optimizer = unseen_statements.make_optimizer(script, model)
        self.cleared = unseen_statements.cleared_optimizer(script, model, self.optimizer)
        self.scaler = unseen_statements.scaler(script)
        self.change = unseen_statements.StepFault(script.fault)
        epochs = script.settings.epochs
        schedule = unseen_statements.faulty_schedule(script, self.optimizer, epochs * steps_per_epoch)
        self.scheduler: Any
        self.interval: unseen_statements.Interval
        self.scheduler, self.interval = schedule or (CosineAnnealingLR(self.optimizer, T_max=epochs), "epoch")
        self.best_score, self.best_state = -1.0, copy.deepcopy(model.state_dict())
        self.history: list[float] = []

    def fit(self, train_loader: DataLoader[Any], valid_loader: DataLoader[Any]) -> None:
        eval_model = unseen_statements.evaluated_model(self.script, self.model)

        hook = clearsight.Hook(self.script.out).watch(self.model)
        self.model.train()
        for _epoch in range(self.script.settings.epochs):
            if self.fault == "model_every_epoch":
                self.model = eval_model = self.script.new_model()
                self.optimizer = self.cleared = unseen_statements.make_optimizer(self.script, self.model)
            if self.fault == "schedule_made_every_epoch":
                self.scheduler = CosineAnnealingLR(self.optimizer, T_max=len(train_loader))
                self.interval = "batch"
            self.train_one_epoch(train_loader)
            score, valid_loss = self.evaluate(eval_model, valid_loader)
            if self.interval == "plateau":
                self.scheduler.step(valid_loss)
            elif self.interval == "epoch":
                self.scheduler.step()
            self.history.append(score)
            if score > self.best_score:
                self.best_score, self.best_state = score, copy.deepcopy(eval_model.state_dict())
        hook.close()
        self.model.load_state_dict(self.best_state)

    def train_one_epoch(self, loader: DataLoader[Any]) -> float:
        if self.fault == "always_evaluation_mode":
            self.model.eval()
        elif self.fault != "train_mode_missing":
            self.model.train()
        unseen_statements.after_train_mode(self.script, self.model)
        losses = RunningAverage()
        for step, (images, targets) in enumerate(unseen_statements.batches(self.script, loader)):
            images, targets = self.change(images, targets)
            if self.fault == "optimizer_every_step":
                self.optimizer = self.cleared = unseen_statements.make_optimizer(self.script, self.model)
            outputs = unseen_statements.loss_inputs(self.script, self.model(images))
            loss = self.change.loss(self.criterion, outputs, targets)
            losses.update(loss.item(), len(images))
            self.step(statements.changed_loss(self.fault, loss, len(images)), step)
            if self.interval == "batch":
                self.scheduler.step()
        return losses.avg

    def step(self, loss: Tensor, index: int) -> None:
        settings = self.script.settings
        if settings.accumulate > 1 and self.fault != "accumulation_without_division":
            loss = loss / settings.accumulate
        if self.fault != "zero_grad_missing" and index % settings.accumulate == 0:
            self.cleared.zero_grad()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if (index + 1) % settings.accumulate:
            return
        if settings.clip is not None:
            if self.fault not in unseen_statements.SCALED:
                self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        if self.fault == "zero_grad_before_step":
            self.optimizer.zero_grad()
        if self.fault == "scaled_loss_stepped":
            self.optimizer.step()
        elif self.fault != "step_missing":
            self.scaler.step(self.optimizer)
            self.scaler.update()
        unseen_statements.limit_weights(self.script, self.model)

    def evaluate(self, model: nn.Module, loader: DataLoader[Any]) -> tuple[float, float]:
        """Return the accuracy and the mean loss."""
        if self.fault != "eval_mode_missing":
            model.eval()
        losses = RunningAverage()
        predictions: list[Tensor] = []
        labels: list[Tensor] = []
        for images, targets in loader:
            with torch.set_grad_enabled(self.fault == "trained_on_validation"):
                outputs = model(images)
                loss = self.criterion(unseen_statements.loss_inputs(self.script, outputs), targets)
            unseen_statements.train_on(self.script, self.optimizer, loss)
            losses.update(loss.item(), len(images))
            predictions.append(unseen_statements.predictions(self.script, outputs.detach()))
            labels.append(targets)
        y_true = torch.cat(labels).numpy()
        if self.fault == "predictions_shuffled":
            y_true = torch.tensor([label for _, label in loader.dataset]).numpy()  # type: ignore[attr-defined]
        return float(accuracy_score(y_true, torch.cat(predictions).numpy())), losses.avg


def train(script: LoopScript) -> LoopOutcome:
    """Run the script."""
    batch_size = script.settings.batch_size
    train_loader = DataLoader(script.train, batch_size=batch_size, **script.order)
    valid_loader = DataLoader(script.valid, batch_size=2 * batch_size, shuffle=script.fault == "predictions_shuffled")
    fitter = Fitter(script, statements.finished(script), len(train_loader))
    fitter.fit(train_loader, valid_loader)
    return LoopOutcome(model=fitter.model, accuracies=(*fitter.history, fitter.best_score))
