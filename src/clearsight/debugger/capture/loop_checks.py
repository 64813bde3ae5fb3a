"""LoopChecks: counts what an external loop does with its model, its loss and its optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from clearsight.core.context import LoopInfo
from clearsight.core.guard import Guard, guarded
from clearsight.core.tensors import Mode
from clearsight.debugger.capture.forward_replay import tensors_in
from clearsight.debugger.capture.loaders import BatchSource, LoaderTracker
from clearsight.debugger.capture.loss_checks import LossCall, LossChecks
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.safe_hook import SafeHook
from clearsight.debugger.capture.schedulers import ScheduleTracker
from clearsight.debugger.capture.transfer import Arrays, RecordSender

_FACTORS = 32  # factors of the loss that are kept
_MISREAD = 1000  # evaluation passes that are listed


@dataclass(eq=False)
class ForwardCall:
    """A forward pass of the watched model. training: mode of the model.  number: of its mode, 0 until it is known."""

    source: BatchSource
    training: bool
    gradients: bool
    mode: Mode
    checked: bool
    number: int = 0
    backward: bool = False
    stepped: bool = False
    counted: bool = False
    inside: bool = True
    size: int = 0  # of the first output: its rows and its elements
    elements: int = 0


class LoopChecks:
    """Follows the passes of a model. Its callers are hooks; `guard` turns all of them off.

    on_backward: called once per pass, when the gradient reaches the model's output.
    """

    def __init__(
        self, model: InspectedModel, guard: Guard, sender: RecordSender, on_backward: Callable[[], None]
    ) -> None:
        self.guard, self.loaders = guard, LoaderTracker(guard)
        self.loss, self._sender = LossChecks(sender), sender
        self.schedule = ScheduleTracker(model.optimizer)
        self.call: ForwardCall | None = None
        self._model, self._on_backward = model, on_backward
        self._counts: dict[str, int] = {}
        self._misread: dict[Mode, list[int]] = {"train": [], "eval": []}  # by the mode that they seemed to have
        self._width = 0
        self._seen_first: bool | None = None
        self._pending = 0  # backwards since the last optimizer step
        self._has_gradient = False  # the last weight had one at a step
        self._before = model.last.detach().clone() if model.last is not None else None

    # Forward passes

    def begin_pass(self) -> Mode:
        """Begin a forward pass; return its mode."""
        self.end_pass()
        source, training = self.loaders.current, self._model.model.training
        gradients = torch.is_grad_enabled()
        mode = source.mode(training=training, gradients=gradients)
        self._count("forwards")
        checked = mode == "train" and self.loss.due()
        self.call = ForwardCall(source, training, gradients, mode, checked)
        return mode

    def end_pass(self) -> None:
        """Judge the pass before, since nothing more can follow it but another backward."""
        call, self.call = self.call, None
        if call is None:
            return
        if call.gradients and not call.backward and not call.stepped:
            call.source.used(training=call.training, backward=False)
            if call.mode == "train" and call.source.role == "eval" and len(self._misread["train"]) < _MISREAD:
                self._misread["train"].append(call.number)
        # Without labels only images of another dataset count: BatchNorm's statistics are measured anew without any.
        elif not call.gradients and call.mode == "eval" and call.source.is_loader and not call.source.same_data:
            self._evaluated(call)
        self._count_lost()

    @guarded
    def on_output(self, number: int, output: Any) -> None:
        """Follow the output of the pass. number: of the pass within its mode."""
        call, tensor = self.call, next(tensors_in(output), None)
        if call is None or tensor is None:
            return
        call.number, call.inside = number, False
        call.size, call.elements = (len(tensor) if tensor.dim() else 0), tensor.numel()
        if tensor.dim() == 2:
            self._width = tensor.shape[1]
        if tensor.requires_grad:
            tensor.register_hook(SafeHook(partial(self._reached, call)))  # type: ignore[no-untyped-call]

    @guarded
    def _reached(self, call: ForwardCall, gradient: Tensor) -> None:
        """Count a backward that reaches the model's output."""
        if call.backward:
            return
        call.backward = True
        self._count_lost()  # before the gradients of this backward arrive at the weights
        self._count("backwards")
        self._count("train_passes")
        self._count("train_passes_in_eval", not call.training)
        self._seen_first = call.training if self._seen_first is None else self._seen_first
        self._pending += 1
        call.source.used(training=call.training, backward=True)
        self.loaders.trained(call.source)
        if call.mode == "eval" and len(self._misread["eval"]) < _MISREAD:
            self._misread["eval"].append(call.number)
        if call is self.call:
            self._on_backward()

    def _count_lost(self) -> None:
        """Count backwards whose gradients are gone although no step used them."""
        last = self._model.last
        if self._pending and self._has_gradient and last is not None and last.grad is None:
            self._count("lost", self._pending)
            self._pending = 0

    # Loss

    def labelled(self) -> None:
        """Note that the pass has labels."""
        if self.call is not None and self.call.mode == "eval":
            self._evaluated(self.call)

    def belongs(self, loss: LossCall) -> bool:
        """Return True if the loss can be that of the pass under way: of as many images and numbers as its output."""
        call = self.call
        if self.loss.busy:
            return False
        if call is None or call.inside:  # a model that computes its own loss
            return call is not None and loss.inputs.dim() == 2
        return call.size > 0 and len(loss.inputs) == call.size and loss.inputs.numel() == call.elements

    def on_loss(self, loss: LossCall) -> None:
        """Check the loss of a pass where one is due."""
        call, value = self.call, loss.value
        if call is None or call.mode != "train":
            return
        if not call.checked and not isinstance(value, Exception):
            return
        self.loss.check(loss)
        differentiable = isinstance(value, Tensor) and value.requires_grad and not value.dim()
        if loss.mean and isinstance(value, Tensor) and differentiable and len(self.loss.factors) < _FACTORS:
            value.register_hook(SafeHook(self._on_loss_gradient))  # type: ignore[no-untyped-call]

    @guarded
    def _on_loss_gradient(self, gradient: Tensor) -> None:
        self._sender.send(self._receive_factor, [gradient.detach().float()])

    def _receive_factor(self, arrays: Arrays) -> None:
        self.loss.factors.append(float(arrays[0]))

    # Updates

    def before_update(self, optimizer: torch.optim.Optimizer, *, closure: bool) -> None:
        """Count an optimizer step and what it finds."""
        call = self.call
        # The loop means to train on this batch, even where no gradient reaches the model.
        if call is not None and call.gradients and not call.backward:
            call.stepped = True
            call.source.used(training=call.training, backward=True)
            self.loaders.trained(call.source)
        last = self._model.last
        self._has_gradient |= last is not None and last.grad is not None
        reached, self._pending = self._pending > 0, 0
        self._count("steps")
        # A closure computes the gradients inside of the step.
        if closure or any(p.grad is not None for group in optimizer.param_groups for p in group["params"]):
            return
        self._count("empty_steps")
        self._count("unreached_steps", not reached)

    def after_update(self) -> None:
        """Follow the schedule."""
        self.schedule.after_step()

    # Result

    def info(self) -> LoopInfo:
        """Return the counts so far."""
        last, before = self._model.last, self._before
        moved = last is not None and before is not None and not torch.equal(last.detach().to(before), before)
        factors = sorted(self.loss.factors)
        return LoopInfo(
            **self._counts,
            moved=moved and not self._counts.get("steps"),
            train_seen_first=bool(self._seen_first),
            misread=tuple(self._misread["eval"]),
            misread_train=tuple(self._misread["train"]),
            mode_layers=sum(map(_differs, self._model.model.modules())),
            width=self._width,
            loader_batches=self.loaders.batches,
            loss_checks=self.loss.checked,
            loss_faults=dict(self.loss.faults),
            loss_factor=factors[len(factors) // 2] if factors else 0.0,
            schedule=self.schedule.info(),
        )

    def _evaluated(self, call: ForwardCall) -> None:
        if not call.counted:
            call.counted = True
            self._count("eval_passes")
            self._count("eval_passes_in_train", call.training)

    def _count(self, name: str, by: int = 1) -> None:
        self._counts[name] = self._counts.get(name, 0) + int(by)


def _differs(module: nn.Module) -> bool:
    """Return True for a layer that computes something else in evaluation mode."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return module.track_running_stats
    rate = getattr(module, "p", getattr(module, "drop_prob", 0.0))  # drop_prob: timm's DropPath
    is_dropout = "drop" in type(module).__name__.lower()
    return is_dropout and isinstance(rate, (int, float)) and rate > 0
