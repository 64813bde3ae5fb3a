"""ExternalLoop: follows a training loop that knows nothing of the debugger, by hooks on its model and optimizer.

StepCounter: its step, epoch and mode, which it does not report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from clearsight.core.context import RunContext
from clearsight.core.guard import guarded
from clearsight.core.tensors import Mode
from clearsight.debugger.capture.loop_checks import LoopChecks
from clearsight.debugger.capture.loss_checks import LOSS_FUNCTIONS, LossCall
from clearsight.debugger.capture.model_inspection import InspectedModel, describe_model
from clearsight.debugger.capture.predictions import BatchPredictions
from clearsight.debugger.capture.probe import has_closure
from clearsight.debugger.capture.safe_hook import HookGroup
from clearsight.debugger.session import CaptureSession


class StepCounter:
    """Counts the steps of an external loop.

    done: training steps finished.  open: True while one is under way.  epoch: from 1; the one that the user sets, else
    it follows from `per_epoch` (steps of an epoch, 0 for not known), else from
    `loader_epoch`, else an evaluation ends one.
    forced_mode: the mode that the user has set; None to ask the model.  loader_epoch: that of the training
    DataLoader, 0 where none is known.
    """

    def __init__(self, per_epoch: int = 0) -> None:
        self.done, self.open = 0, False
        self.forced_mode: Mode | None = None
        self.epoch, self.loader_epoch = 1, 0
        self._per_epoch, self._is_set, self._evaluated = per_epoch, False, False

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; from now on nothing else changes it."""
        self.epoch, self._is_set = int(epoch), True

    def begin(self) -> int:
        """Begin a training step; returns its number, from 1."""
        if not self._is_set and self._per_epoch:
            self.epoch = self.done // self._per_epoch + 1
        elif not self._is_set and self.loader_epoch:
            self.epoch = self.loader_epoch
        # `done`: an evaluation before the first step, as trainers make to check themselves, ends no epoch.
        elif not self._is_set and self._evaluated and self.done:
            self.epoch += 1
        self.open, self._evaluated = True, False
        return self.done + 1

    def end(self) -> None:
        """End the training step under way."""
        self.done, self.open = self.done + 1, False

    def abandon(self) -> None:
        """Give up the step under way, if any; its number is used again."""
        self.open = False

    def begin_evaluation(self) -> bool:
        """Begin an evaluation step; returns True for the first since the last training step."""
        # Several evaluations without a training step between them belong to one epoch.
        is_first, self._evaluated = not self._evaluated, True
        return is_first


class ExternalLoop:
    """Derives steps, epochs, evaluations, losses and predictions from the calls that hooks see.

    A step is an optimizer step where an optimizer is watched, else a forward pass in train mode.
    """

    def __init__(
        self,
        session: CaptureSession,
        counter: StepCounter,
        model: nn.Module,
        losses: Mapping[str, nn.Module],
        optimizer: torch.optim.Optimizer | None,
    ) -> None:
        inspected = InspectedModel.of(model, optimizer)
        session.set_context(describe_model(session.tape.context, inspected, list(losses.values())))
        self.guard, self._session, self._counter = session.guard, session, counter
        self._model, self._optimizer = inspected.model, optimizer
        self._sees_forward = inspected.entry is not None
        self._mode: Mode = counter.forced_mode or "train"
        self._checks = LoopChecks(inspected, self.guard, session.probe.sender, self._record_call)
        # A loss function's call waits until its backward or the next pass: the user may report the same loss himself.
        self._loss_call: LossCall | None = None
        self._records_calls = not losses
        self._has_predictions = False  # of this forward pass: of several losses the first gives them
        self._in_optimizer_step = False
        self._hooks = HookGroup()
        # The order decides: this object's hook on the optimizer runs before the probe's when a step begins, and after
        # it when the step has ended.
        if inspected.entry is not None:
            self._hooks.attach(inspected.entry.register_forward_pre_hook, self._on_forward)
        if optimizer is not None:
            self._hooks.attach(optimizer.register_step_pre_hook, self._before_update)
        session.probe.attach(model, optimizer)
        if optimizer is not None:
            self._hooks.attach(optimizer.register_step_post_hook, self._after_update)
        if inspected.entry is not None:
            self._hooks.attach(inspected.entry.register_forward_hook, self._on_output)
            self._checks.loaders.attach()
            for name, patch in LOSS_FUNCTIONS.items():
                self._hooks.attach(patch.register, partial(self._on_loss_function, name))
        for name, module in losses.items():
            self._hooks.attach(module.register_forward_hook, partial(self._on_loss, name), with_kwargs=True)

    def remove(self) -> None:
        """Remove every hook, the probe's too."""
        self._hooks.remove()
        self._checks.loaders.remove()
        self._session.probe.detach()

    def release(self) -> None:
        """Remove the hooks after a failure."""
        # The optimizer runs through its hooks: removing one now would break its loop. They do nothing from now on, and
        # the next forward pass removes them.
        if not self._in_optimizer_step:
            self.remove()

    def end_forward_step(self) -> None:
        """End the step under way where steps are forward passes: the next pass begins, or the training is over."""
        self._record_call()
        if self._counter.open and self._optimizer is None:
            self._end_step()

    def conclude(self) -> None:
        """End what is under way, and put what the loop was seen to do into the context."""
        self.end_forward_step()
        self._checks.end_pass()
        self._session.probe.sender.deliver(wait=True)
        tape, loop = self._session.tape, self._checks.info()
        labels = tape.predictions().labels
        loop = replace(loop, highest_label=int(labels.max()) if len(labels) else -1)
        tape.context = inferred(replace(tape.context, loop=loop))

    def report(self, loss: Tensor | None, logits: Any, labels: Any, indices: Any, name: str) -> None:
        """Record what the user reports; from now on calls of loss functions are checked and not recorded."""
        self._records_calls, self._loss_call = False, None
        self.record(name, loss, logits, labels, indices)

    def record(self, name: str, loss: Tensor | None, logits: Any, labels: Any, indices: Any = None) -> None:
        """Record loss and predictions of a forward pass, before its backward. Not guarded.

        loss: of any shape, its mean counts.  logits: (N, C).  labels: (N,).  indices: (N,) places in the split.
        """
        probe = self._session.probe
        if not self._sees_forward:
            self._begin_forward()
        loss = loss if loss is not None and loss.numel() else None
        scalars: dict[str, Tensor | float] = {} if loss is None else {name: loss.float().mean()}
        batch = None
        if logits is not None and labels is not None and not self._has_predictions:
            batch = BatchPredictions.of(logits, labels)
        if batch is not None:
            self._has_predictions = True
            self._checks.labelled()
            scalars["accuracy"] = batch.accuracy()
            tape = self._session.tape
            if not tape.context.batch_size and self._mode == "train":
                # In memory alone: the file is written again when the hook is closed.
                tape.context = replace(tape.context, batch_size=len(batch.labels))
            probe.record_predictions(logits, labels, indices)
        if loss is not None:
            probe.check_loss(loss, name)
        if scalars:
            probe.sender.scalars(probe.at, scalars)

    # Hooks

    def _on_forward(self, *_: Any) -> None:
        if self.guard.off:
            self.remove()
        elif not torch.compiler.is_compiling() and not self._session.probe.replay.active:
            self._begin_forward()

    @guarded
    def _begin_forward(self) -> None:
        self.end_forward_step()
        self._has_predictions = False
        self._mode = self._counter.forced_mode or self._checks.begin_pass()
        self._counter.loader_epoch = self._checks.loaders.epoch
        if self._mode == "train":
            self._begin_step()
            return
        self._counter.abandon()  # forward passes that no optimizer step followed: the rest of an accumulation, say
        is_first = self._mode == "eval" and self._counter.begin_evaluation()
        probe = self._session.probe
        if is_first or probe.at.mode != self._mode:
            probe.begin_evaluation(self._counter.epoch, self._counter.done, self._mode)

    @guarded
    def _on_output(self, module: nn.Module, args: Any, output: Any) -> None:
        if not torch.compiler.is_compiling() and not self._session.probe.replay.active:
            self._checks.on_output(self._session.probe.at.step, output)

    @guarded
    def _before_update(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self._in_optimizer_step = True
        self._record_call()
        self._checks.before_update(optimizer, closure=has_closure(args, kwargs))
        self._begin_step()  # where no forward pass in train mode was seen

    @guarded
    def _after_update(self, *_: Any) -> None:
        if self._counter.open:
            self._end_step()
        self._checks.after_update()
        self._in_optimizer_step = False

    @guarded
    def _on_loss(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
    ) -> None:
        if not isinstance(output, Tensor) or self._session.probe.replay.active:
            return
        # Two tensors are logits and labels. Losses of other arguments give a value alone.
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        logits, labels = tensors if len(tensors) == 2 else (None, None)
        if logits is not None and labels is not None and type(module).__name__ not in LOSS_FUNCTIONS:
            self._checks.on_loss(LossCall("", logits, labels, output, mean=False))
        self.record(name, output.detach(), logits, labels)

    @guarded
    def _on_loss_function(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], value: Any) -> None:
        call = None if self._session.probe.replay.active else LossCall.of(name, args, kwargs, value)
        if call is None or not self._checks.belongs(call):
            return
        self._checks.on_loss(call)
        tape = self._session.tape
        if not tape.context.loss:
            tape.context = replace(tape.context, loss=name)
        if self._records_calls and self._loss_call is None and isinstance(value, Tensor):
            self._loss_call = call

    def _record_call(self) -> None:
        """Record the loss function's call that waits, if any."""
        call, self._loss_call = self._loss_call, None
        if call is None or not self._records_calls or not isinstance(call.value, Tensor):
            return
        value = call.value.detach()
        # The sum over the batch, as test loops add it up, stands for its mean.
        mean = value if call.mean or value.dim() else value / max(1, len(call.inputs))
        self.record("loss", mean, call.inputs, call.targets)

    # Steps

    def _begin_step(self) -> None:
        if not self._counter.open:
            step = self._counter.begin()
            self._session.probe.begin_step(step, self._counter.epoch)

    def _end_step(self) -> None:
        probe = self._session.probe
        scalars = probe.end_step()
        if self._optimizer is not None:
            scalars["lr"] = float(self._optimizer.param_groups[-1]["lr"])
        self._counter.end()
        if scalars:
            probe.sender.scalars(probe.at, scalars)


def inferred(context: RunContext) -> RunContext:
    """Return the context with what follows from the loop: classes and steps of an epoch.

    A class is an output of the model; where the labels seen use less than half of the outputs, one for each label.
    """
    loop = context.loop
    seen = loop.highest_label + 1
    count = loop.width if seen > loop.width // 2 else seen
    classes = context.classes or (tuple(f"class {index}" for index in range(count)) if count > 1 and seen else ())
    # Accumulated batches are one step.
    per_step = max(1, round(loop.backwards / loop.steps)) if loop.steps else 1
    per_epoch = context.steps_per_epoch or loop.loader_batches // per_step
    return replace(context, classes=classes, steps_per_epoch=per_epoch)
