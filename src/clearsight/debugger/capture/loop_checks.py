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
from clearsight.debugger.capture.initial_weights import HiddenWeights, unset_norms
from clearsight.debugger.capture.loaders import BatchSource, BatchUse, LoaderTracker
from clearsight.debugger.capture.loss_checks import LossCall, LossChecks, softening
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.safe_hook import SafeHook
from clearsight.debugger.capture.schedulers import ScheduleTracker
from clearsight.debugger.capture.transfer import Arrays, RecordSender
from clearsight.debugger.capture.weight_changes import WeightChanges, averaged_copy

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
    single: Tensor | None = None  # the output, of a checked pass with one output per image, until its loss is known
    outputs: Tensor | None = None  # (N,) or (N, C), without gradient
    labels: Tensor | None = None  # of its batch, as the loader returned it

    @property
    def is_held_out(self) -> bool:
        """True for images of a loader that reads other data than that which is trained on."""
        return self.source.is_loader and not self.source.same_data and self.source.role != "train"


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
        self.hidden = HiddenWeights(model.model)
        self.call: ForwardCall | None = None
        self._model, self._on_backward = model, on_backward
        self._counts: dict[str, int] = {}
        self._misread: dict[Mode, list[int]] = {"train": [], "eval": []}  # by the mode that they seemed to have
        self._width = 0
        self._pending = 0  # backwards since the last optimizer step
        self._has_gradient = False  # the last weight had one at a step
        self.weights = WeightChanges(model, sender)

    def follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Count the steps of this optimizer of the model from now on."""
        self._model = self._model.with_optimizer(optimizer)
        self.schedule = ScheduleTracker(optimizer)

    @property
    def steps(self) -> int:
        """Steps of the followed optimizers so far."""
        return self._counts.get("steps", 0)

    # Forward passes

    def begin_pass(self, inputs: Tensor | None = None) -> Mode:
        """Begin a forward pass; return its mode. inputs: (N, ...) of the model."""
        self.end_pass()
        source, training = self.loaders.current, self._model.model.training
        gradients = torch.is_grad_enabled()
        mode = source.mode(training=training, gradients=gradients)
        self._count("forwards")
        checked = mode == "train" and self.loss.due()
        labels = self.loaders.labels(inputs)
        self.call = ForwardCall(source, training, gradients, mode, checked, labels=labels)
        self.loss.mixtures.begin(self.loaders.mixture())
        return mode

    def end_pass(self) -> None:
        """Judge the pass before, since nothing more can follow it but another backward."""
        call, self.call = self.call, None
        if call is None:
            return
        if call.gradients and not call.backward and not call.stepped:
            trains = any(self._counts.get(name) for name in ("backwards", "steps"))
            call.source.used(training=call.training, backward=False, trains=trains)
            if call.mode == "train":
                self._misread_training(call)
        # Without labels only images of another dataset count: BatchNorm's statistics are measured anew without any.
        elif not call.gradients and call.mode == "eval" and call.source.is_loader and not call.source.same_data:
            self._evaluated(call)
        self._count_lost()

    def _misread_training(self, call: ForwardCall) -> None:
        """List a pass in train mode that no backward followed, as soon as it is known to be one of an evaluation."""
        source = call.source
        if not source.role and len(source.unsure) < _MISREAD:
            source.unsure.add(call.number)
        elif source.role == "eval" and len(self._misread["train"]) < _MISREAD:
            self._misread["train"] += [*sorted(source.unsure - {call.number}), call.number]
            source.unsure.clear()

    @guarded
    def on_output(self, number: int, output: Any, args: Any = ()) -> None:
        """Follow the output of the pass. number: of the pass within its mode.  args: of the model."""
        call, tensor = self.call, next(tensors_in(output), None)
        if call is None or tensor is None:
            return
        call.number, call.inside = number, False
        call.size, call.elements = (len(tensor) if tensor.dim() else 0), tensor.numel()
        if tensor.dim() == 2:
            self._width = tensor.shape[1]
        if tensor.dim() in (1, 2):
            call.outputs = tensor.detach()
        if call.checked and call.size == call.elements:
            call.single = tensor.detach()
        if tensor.requires_grad:
            if call.checked:
                self.hidden.read(tensor, tensors_in(args))
            trains, uses = call.training and call.gradients, self.loaders.uses
            use = uses.begin(call.source, self.loaders.draws) if trains else None
            tensor.register_hook(SafeHook(partial(self._reached, call, use)))  # type: ignore[no-untyped-call]

    @guarded
    def _reached(self, call: ForwardCall, use: BatchUse | None, gradient: Tensor) -> None:
        """Count a backward that reaches the model's output. use: of its batch, where it trains."""
        if call.backward:
            return
        call.backward = True
        if use is not None:
            self.loaders.uses.follow(use)
        if call.single is not None and call.single.shape == gradient.shape:
            self.loss.check_gradient(call.single, gradient)
        call.single = None
        self._count_lost()  # before the gradients of this backward arrive at the weights
        self._count("backwards")
        self._count("unstepped")
        self._count("train_passes")
        self._count("train_passes_in_eval", not call.training)
        self._counts.setdefault("train_seen_first", call.training)
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

    def is_unseen(self, loss: LossCall) -> bool:
        """Return True if the loss is of an evaluation pass of another model, which has no hooks. Counts all such.

        A loss without a forward pass of the watched model belongs to another model: to its moving average where
        nothing is trained, or to one that is trained in its place.
        """
        call = self.call
        if torch.is_grad_enabled():
            used = call is None or call.backward or call.stepped
            trains = isinstance(loss.value, Tensor) and loss.value.requires_grad
            self._count("unwatched_losses", used and trains)
            return False
        # Without a loader the loss may be measured once more on the training batch.
        return self.loaders.is_held_out and (call is None or call.gradients)

    def belongs(self, loss: LossCall) -> bool:
        """Return True if the loss can be that of the pass under way: of as many images and numbers as its output."""
        call = self.call
        if call is None or call.inside:  # a model that computes its own loss
            return call is not None and loss.inputs.dim() == 2
        return call.size > 0 and len(loss.inputs) == call.size and loss.inputs.numel() == call.elements

    def outputs_beside(self, scores: Any, mode: Mode) -> Tensor | None:
        """Return the outputs of the pass under way, if it is one of the mode and a loss gets other scores."""
        outputs = self.call.outputs if self.call is not None and self.call.mode == mode else None
        is_same = outputs is None or not isinstance(scores, Tensor) or outputs.data_ptr() == scores.data_ptr()
        return None if is_same else outputs

    def on_loss(self, loss: LossCall) -> None:
        """Check the loss of a pass where one is due."""
        call, value = self.call, loss.value
        if call is None or call.mode != "train":
            return
        # What a loss of the author's makes of single outputs shows in their gradient alone.
        by_gradient = call.single is not None and not loss.name and not isinstance(value, Exception)
        call.single = call.single if by_gradient else None
        self.loss.mixtures.on_targets(loss.targets)
        if not call.checked and not isinstance(value, Exception):
            return
        self.loss.check(loss, by_gradient=by_gradient)
        if call.outputs is not None:
            self.loss.compare_outputs(call.outputs, loss)
        differentiable = isinstance(value, Tensor) and value.requires_grad and not value.dim()
        # Of losses of torch alone: others may reduce in any way.
        if loss.name and isinstance(value, Tensor) and differentiable and len(self.loss.factors) < _FACTORS:
            size = 1 if loss.mean else len(loss.inputs)
            taught = None if call.outputs is None else softening(call.outputs, loss)
            value.register_hook(SafeHook(partial(self._on_loss_gradient, size, taught)))  # type: ignore[no-untyped-call]

    @guarded
    def _on_loss_gradient(self, size: int, taught: Tensor | None, gradient: Tensor) -> None:
        def receive(arrays: Arrays) -> None:
            # A temperature T makes the gradient of a teacher's labels T^2 times smaller: Hinton et al. 2015, section 2.
            self.loss.factors.append(size * float(arrays[0]) * (float(arrays[1]) ** 2 if len(arrays) > 1 else 1.0))

        self._sender.send(receive, [gradient.detach().float(), *([] if taught is None else [taught])])

    # Updates

    def before_update(self, optimizer: torch.optim.Optimizer, *, closure: bool) -> None:
        """Count an optimizer step and what it finds. A closure computes the gradients inside of the step."""
        self._count("steps")
        if closure:
            self._has_gradient = False  # a closure clears gradients between its passes, as L-BFGS needs it
        else:
            self._examine(optimizer)

    def after_update(self, optimizer: torch.optim.Optimizer, *, closure: bool) -> None:
        """Follow the schedule, and count what the step of a closure found."""
        if closure:
            self._examine(optimizer)
        self.schedule.after_step()

    def _examine(self, optimizer: torch.optim.Optimizer) -> None:
        """Count what a step finds."""
        call = self.call
        self.hidden.hold(optimizer)
        if call is not None and call.backward and not call.training and self._counts.get("train_seen_first"):
            self._count("held_out_steps", self.loaders.is_other(call.source))
        # The loop means to train on this batch, even where no gradient reaches the model.
        if call is not None and call.gradients and not call.backward:
            call.stepped = True
            call.source.used(training=call.training, backward=True)
            self.loaders.trained(call.source)
        last = self._model.last
        self._has_gradient |= last is not None and last.grad is not None
        reached, self._pending = self._pending > 0, 0
        self._counts["unstepped"] = 0
        if any(p.grad is not None for group in optimizer.param_groups for p in group["params"]):
            return
        self._count("empty_steps")
        self._count("unreached_steps", not reached)

    # Result

    def info(self) -> LoopInfo:
        """Return the counts so far."""
        last, before = self._model.last, self.weights.initial
        moved = last is not None and before is not None and not torch.equal(last.detach().to(before), before)
        factors, multiples = sorted(self.loss.factors), sorted(self.loss.output_factors)
        unset, norms = unset_norms(self._model.model)
        averaged, averaged_unset = self._averaged()
        writes = self.weights.info()
        # Where the first weights are back at the end, so are the statistics of new layers.
        is_trained = self._counts.get("backwards", 0) > 0 and writes.final != 0
        uses, (draws, images, size) = self.loaders.uses, self.loaders.coverage()
        uses.end()
        iterations = self.loaders.iterations
        return LoopInfo(
            **self._counts,  # type: ignore[arg-type]  # True and False are numbers
            moved=moved and not self._counts.get("steps"),
            misread=tuple(self._misread["eval"]),
            misread_train=tuple(self._misread["train"]),
            mode_layers=sum(map(_differs, self._model.model.modules())),
            width=self._width,
            loader_batches=self.loaders.batches,
            loss_checks=self.loss.checked,
            loss_faults=dict(self.loss.faults),
            loss_factor=factors[len(factors) // 2] if factors else 0.0,
            label_smoothing=self.loss.smoothing,
            class_weights=self.loss.weights,
            positive_weight=self.loss.positive_weight,
            norms=norms if is_trained else 0,
            unset_norms=unset if is_trained else 0,
            hidden_weights=self.hidden.count,
            renewed_weights=self.hidden.renewed > 0,
            output_factor=multiples[len(multiples) // 2] if multiples else 0.0,
            own_share=self.loss.mixtures.own_share,
            averaged=averaged,
            averaged_unset=averaged_unset,
            unfrozen=sum(p.requires_grad and p.dim() > 1 and not self._model.holds(p) for p in self._model.frozen),
            attributes=sum(map(_frozen_under_attribute, self._model.model.modules())),
            trained_batches=uses.trained,
            skipped_batches=uses.skipped,
            unfollowed=uses.unfollowed,
            epoch_draws=draws,
            epoch_images=images,
            dataset_images=size,
            iterations=iterations.ended,
            iterated=iterations.batches,
            broken_off=iterations.broken_off,
            schedule=self.schedule.info(),
            writes=writes,
        )

    def _averaged(self) -> tuple[float | None, int]:
        """Return what `averaged_copy` tells, if a moving average may be what the loop evaluates."""
        last, before = self._model.last, self.weights.initial
        if last is None or before is None or self.loaders.held_out <= self._counts.get("eval_passes", 0):
            return None, 0
        return averaged_copy(self._model.model, last, before)

    def _evaluated(self, call: ForwardCall) -> None:
        if not call.counted:
            call.counted = True
            self._count("eval_passes")
            self._count("eval_passes_in_train", call.training)

    def _count(self, name: str, by: int = 1) -> None:
        self._counts[name] = self._counts.get(name, 0) + int(by)


def _frozen_under_attribute(module: nn.Module) -> bool:
    """Return True for a module with an attribute requires_grad, which does nothing, and frozen parameters."""
    return vars(module).get("requires_grad") is True and not any(p.requires_grad for p in module.parameters())


def _differs(module: nn.Module) -> bool:
    """Return True for a layer that computes something else in evaluation mode."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return module.track_running_stats
    rate = getattr(module, "p", getattr(module, "drop_prob", 0.0))  # drop_prob: timm's DropPath
    is_dropout = "drop" in type(module).__name__.lower()
    return is_dropout and isinstance(rate, (int, float)) and rate > 0
