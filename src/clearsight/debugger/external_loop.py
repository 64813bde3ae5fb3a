"""ExternalLoop: follows a training loop that knows nothing of the debugger, by hooks on its model and optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from clearsight.core.context import RunContext
from clearsight.core.guard import guarded
from clearsight.core.tensors import Mode
from clearsight.debugger.capture.batch_labels import CLASS_LOSSES, batch_predictions
from clearsight.debugger.capture.forward_replay import tensors_in
from clearsight.debugger.capture.initial_weights import random_share
from clearsight.debugger.capture.loop_checks import LoopChecks
from clearsight.debugger.capture.loss_checks import LOSS_FUNCTIONS, LossCall, are_swapped
from clearsight.debugger.capture.model_inspection import (
    InspectedModel,
    describe_model,
    describe_optimizer,
    with_optimized,
)
from clearsight.debugger.capture.predictions import SINGLE_OUTPUTS, BatchPredictions, Single
from clearsight.debugger.capture.probe import has_closure
from clearsight.debugger.capture.safe_hook import HookGroup
from clearsight.debugger.capture.shared_patch import SharedPatch
from clearsight.debugger.session import CaptureSession
from clearsight.debugger.step_counter import StepCounter, Succession

_BACKWARDS = SharedPatch(torch.autograd, "backward")  # which Tensor.backward calls
_SCALINGS = SharedPatch(torch.amp.GradScaler, "scale")


@dataclass
class PassRecord:
    """Record of a forward pass. called: watched losses that were called in it.  call: of a loss function.

    The call waits until its backward or the next pass: the user may report the same loss himself.
    """

    has_loss: bool = False
    has_predictions: bool = False  # of several losses the first gives them
    called: set[str] = field(default_factory=set)
    call: LossCall | None = None
    scaled: tuple[Any, Any] = (None, None)  # a loss that a gradient scaler has scaled, and the loss


class ExternalLoop:
    """Derives steps, epochs, evaluations, losses and predictions from the calls that hooks see.

    A step is an optimizer step where an optimizer is watched or one with parameters of the model has stepped, else a
    forward pass in train mode.
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
        context = replace(session.tape.context, random_start=random_share(inspected))
        session.set_context(describe_model(context, inspected, list(losses.values())))
        self.guard, self._session, self._counter = session.guard, session, counter
        self._inspected, self._optimizer = inspected, optimizer
        self._succession = Succession()
        self._sees_forward = inspected.entry is not None
        self._mode: Mode = counter.forced_mode or "train"
        self._checks = LoopChecks(inspected, self.guard, session.probe.sender, self._record_call)
        self._records_calls = True
        self._recorded = PassRecord()
        self._swapped: set[str] = set()  # losses of other libraries that get the targets first
        self._in_optimizer_step = False
        self._hooks = HookGroup()
        # The order decides: this object's hook on the optimizer runs before the probe's when a step begins, and after
        # it when the step has ended.
        if inspected.entry is not None:
            self._hooks.attach(inspected.entry.register_forward_pre_hook, self._on_forward, with_kwargs=True)
        if optimizer is not None:
            self._hooks.attach(optimizer.register_step_pre_hook, self._before_update)
        session.probe.attach(model, optimizer)
        if optimizer is not None:
            self._hooks.attach(optimizer.register_step_post_hook, self._after_update)
        if inspected.entry is not None:
            self._hooks.attach(inspected.entry.register_forward_hook, self._on_output)
            self._checks.loaders.attach()
            self._hooks.attach(_SCALINGS.register, self._on_scaling)
            self._hooks.attach(_BACKWARDS.register, self._on_backward)
            for name, patch in LOSS_FUNCTIONS.items():
                self._hooks.attach(patch.register, partial(self._on_loss_function, name))
        # Many loops do not pass their optimizer, and some have several for one model.
        self._hooks.attach(register_optimizer_step_pre_hook, self._on_any_update)
        self._hooks.attach(register_optimizer_step_post_hook, self._after_any_update)
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
        self._checks.weights.end(self._counter.done)
        self._session.probe.sender.deliver(wait=True)
        tape, loop = self._session.tape, self._checks.info()
        labels = tape.predictions().labels
        loop = replace(loop, highest_label=int(labels.max()) if len(labels) else -1)
        tape.context = inferred(replace(tape.context, loop=loop))

    def report(self, loss: Tensor | None, logits: Any, labels: Any, indices: Any, name: str) -> None:
        """Record what the user reports; once it has logits, calls of loss functions are checked and not recorded."""
        if logits is not None:
            self._records_calls, self._recorded.call = False, None
        self.record(name, loss, logits, labels, indices)

    def record(
        self, name: str, loss: Tensor | None, logits: Any, labels: Any, indices: Any = None, single: Single = ""
    ) -> None:
        """Record loss and predictions of a forward pass, before its backward. Not guarded.

        loss: of any shape, its mean counts.  logits: (N, C).  labels: (N,).  indices: (N,) places in the split.
        single: what one output per image is.
        """
        probe = self._session.probe
        if not self._sees_forward:
            self._begin_forward()
        loss = loss if loss is not None and loss.numel() else None
        scalars: dict[str, Tensor | float] = {} if loss is None else {name: loss.float().mean()}
        if logits is not None and labels is not None and not self._recorded.has_predictions:
            # What a user reports is meant; what a loss gets may be more than the outputs.
            outputs = self._checks.outputs_beside(logits, self._mode) if self._records_calls else None
            batch = BatchPredictions.of(logits, labels, indices, single, outputs)
            if batch is not None:
                scalars["accuracy"] = batch.accuracy()
                self._record_batch(batch)
        if loss is not None:
            self._recorded.has_loss = True
            probe.check_loss(loss, name)
        if scalars:
            probe.sender.scalars(probe.at, scalars)

    def _record_batch(self, batch: BatchPredictions) -> None:
        self._recorded.has_predictions = True
        self._checks.labelled()
        tape = self._session.tape
        if not tape.context.batch_size and self._mode == "train":
            # In memory alone: the file is written again when the hook is closed.
            tape.context = replace(tape.context, batch_size=len(batch.labels))
        self._session.probe.record_batch(batch)

    # Hooks

    def _on_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if self.guard.off:
            self.remove()
        elif not torch.compiler.is_compiling() and not self._session.probe.replay.active:
            self._begin_forward(next(tensors_in((args, kwargs)), None))

    @guarded
    def _begin_forward(self, inputs: Tensor | None = None) -> None:
        self.end_forward_step()
        self._recorded = PassRecord()
        self._mode = self._counter.forced_mode or self._checks.begin_pass(inputs)
        self._counter.loader_epoch = self._checks.loaders.epoch
        if self._mode == "train":
            self._begin_step()
            return
        self._begin_evaluation()

    def _begin_evaluation(self, *, unseen: bool = False) -> None:
        self._counter.abandon()  # forward passes that no optimizer step followed: the rest of an accumulation, say
        is_first = self._mode == "eval" and self._counter.begin_evaluation()
        probe = self._session.probe
        if is_first:
            self._checks.weights.evaluated(self._counter.done)
        if is_first or unseen or probe.at.mode != self._mode:
            probe.begin_evaluation(self._counter.epoch, self._counter.done, self._mode, unseen=unseen)

    def _begin_unseen_pass(self) -> None:
        """Begin an evaluation pass of another model than the watched one, such as its moving average."""
        self.end_forward_step()
        self._recorded = PassRecord()
        self._mode = "eval"
        self._begin_evaluation(unseen=True)

    @guarded
    def _on_output(self, module: nn.Module, args: Any, output: Any) -> None:
        if not torch.compiler.is_compiling() and not self._session.probe.replay.active:
            self._checks.on_output(self._session.probe.at.step, output, args)

    @guarded
    def _on_any_update(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Follow the first optimizer that steps with parameters of the model, unless one was passed."""
        self._in_optimizer_step = True  # a failure below must not remove a hook whose siblings are being called
        self._checks.hidden.hold(optimizer)
        self._checks.weights.before_update(optimizer, self._counter.done)
        self._checks.loaders.uses.follow()
        if optimizer is self._optimizer:
            return
        self._learn_of(optimizer)
        self._in_optimizer_step = False

    @guarded
    def _after_any_update(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self._in_optimizer_step = True  # as above
        self._checks.weights.after_update(optimizer)
        self._in_optimizer_step = False

    def _learn_of(self, optimizer: torch.optim.Optimizer) -> None:
        session, context = self._session, self._session.tape.context
        extended = with_optimized(context, self._inspected, optimizer)
        if self._optimizer is None and extended is context:
            return
        if self._optimizer is not None and not self._succeeds(optimizer):
            if extended is not context:
                session.set_context(extended)
            return
        since = self._counter.done + 1 if self._optimizer is not None else 0
        self._optimizer, self._inspected = optimizer, self._inspected.with_optimizer(optimizer)
        session.set_context(replace(describe_optimizer(context, self._inspected), optimizer_since=since))
        self._checks.follow(optimizer)
        # This very step runs the hooks that are attached here.
        self._hooks.attach(optimizer.register_step_pre_hook, self._before_update)
        session.probe.follow(optimizer)
        self._hooks.attach(optimizer.register_step_post_hook, self._after_update)

    def _succeeds(self, optimizer: torch.optim.Optimizer) -> bool:
        """Return True where an optimizer steps in the place of the watched one, as after a first phase of training."""
        inspected = self._inspected.with_optimizer(optimizer)
        return bool(inspected.trained) and self._checks.steps > 0 and self._succession.takes_over(optimizer)

    @guarded
    def _before_update(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        if optimizer is not self._optimizer:
            return  # the one of an earlier phase
        self._in_optimizer_step = True
        self._succession.stepped()
        self._record_call()
        self._checks.before_update(optimizer, closure=has_closure(args, kwargs))
        self._begin_step()  # where no forward pass in train mode was seen

    @guarded
    def _after_update(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if optimizer is not self._optimizer:
            return
        if self._counter.open:
            self._end_step()
        self._checks.after_update(optimizer, closure=has_closure(args, kwargs))
        self._in_optimizer_step = False

    @guarded
    def _on_loss(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
    ) -> None:
        if not isinstance(output, Tensor) or self._session.probe.replay.active:
            return
        if self._mode == "eval" and name in self._recorded.called:
            return  # of another model, evaluated on the same batch or after the watched one
        self._recorded.called.add(name)
        # Two tensors are logits and labels. Losses of other arguments give a value alone.
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        logits, labels = tensors if len(tensors) == 2 else (None, None)
        if logits is not None and labels is not None:
            is_own, swapped = type(module).__name__ not in LOSS_FUNCTIONS, are_swapped(logits, labels)
            if is_own and swapped:
                self._swapped.add(name)  # for validation, where nothing has gradients
            swapped |= name in self._swapped
            logits, labels = (labels, logits) if swapped else (logits, labels)
            if is_own:
                self._checks.on_loss(LossCall("", logits, labels, output, mean=False, swapped=swapped))
        single = SINGLE_OUTPUTS.get(type(module).__name__, "")
        self.record(name, output.detach(), logits, labels, single=single)

    @guarded
    def _on_loss_function(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], value: Any) -> None:
        call = None if self._session.probe.replay.active else LossCall.of(name, args, kwargs, value)
        if call is None:
            return
        if self._sees_forward and self._checks.is_unseen(call):
            self._begin_unseen_pass()
            self._session.probe.read_unseen(self._checks.loaders.held_out_images)
        elif not self._checks.belongs(call):
            return
        self._checks.on_loss(call)
        tape = self._session.tape
        if not tape.context.loss:
            tape.context = replace(tape.context, loss=name)
        if self._records_calls and self._recorded.call is None and isinstance(value, Tensor):
            self._recorded.call = call

    @guarded
    def _on_scaling(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        self._recorded.scaled = (result, args[1] if len(args) > 1 else kwargs.get("outputs"))

    @guarded
    def _on_backward(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """Record the loss of a pass that no function of torch has computed, by the backward that it got."""
        self._checks.loaders.uses.follow()
        loss = args[0] if args else kwargs.get("tensors")
        scaled, plain = self._recorded.scaled
        loss = plain if loss is scaled else loss
        is_open = self._records_calls and self._mode == "train" and self._counter.open and self._sees_forward
        if is_open and not self._recorded.has_loss and isinstance(loss, Tensor) and loss.numel() == 1:
            self.record("loss", loss.detach(), None, None)

    def _record_call(self) -> None:
        """Record the loss function's call that waits; where there is none, the predictions of the loader's batch."""
        recorded = self._recorded
        call, recorded.call = recorded.call, None
        if not self._records_calls:
            return
        if call is None and not recorded.has_predictions:
            self._record_drawn_batch()
        if call is None or recorded.called or not isinstance(call.value, Tensor):
            return
        value = call.value.detach()
        # The sum over the batch, as test loops add it up, stands for its mean.
        mean = value if call.mean or value.dim() else value / max(1, len(call.inputs))
        self.record("loss", mean, call.inputs, call.targets, single=SINGLE_OUTPUTS.get(call.name, ""))

    def _record_drawn_batch(self) -> None:
        """Record predictions by the labels that the DataLoader returned, of a pass whose loss nobody has seen."""
        call, loss = self._checks.call, self._session.tape.context.loss
        if call is None or call.outputs is None or call.labels is None or self._mode == "predict":
            return
        if self._mode == "eval" and not call.is_held_out:
            return
        batch = batch_predictions(call.outputs, call.labels, loss, self._checks.loaders.highest_label)
        if batch is None:
            return
        scalars: dict[str, Tensor | float] = {"accuracy": batch.accuracy()}
        if self._mode == "eval" and not self._recorded.has_loss and (loss in CLASS_LOSSES or batch.single):
            scalars["loss"] = batch.loss()  # the loss that is trained, without smoothing and weights
        self._record_batch(batch)
        probe = self._session.probe
        probe.sender.scalars(probe.at, scalars)

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
    seen, width = loop.highest_label + 1, 2 if loop.width == 1 else loop.width
    count = width if seen > width // 2 else seen
    classes = context.classes or (tuple(f"class {index}" for index in range(count)) if count > 1 and seen else ())
    # Accumulated batches are one step.
    per_step = max(1, round(loop.backwards / loop.steps)) if loop.steps else 1
    per_epoch = context.steps_per_epoch or loop.loader_batches // per_step
    return replace(context, classes=classes, steps_per_epoch=per_epoch)
