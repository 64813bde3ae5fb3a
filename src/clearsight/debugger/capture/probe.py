"""Probe: observes a model and its optimizer while they train, and makes records. It knows no files and no rules.

The result of the training does not change: parameters, buffers, gradients, random state and modes are bit for bit
those of an unwatched run. Between due steps the model has two hooks, on the module as a whole and on its last layer;
after `detach` none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from clearsight.core.guard import Guard, guarded
from clearsight.core.tensors import Mode, Moment, SavedRecord
from clearsight.debugger.capture.forward_replay import ForwardPass, ModeComparison, ReplayFlag, tensors_in
from clearsight.debugger.capture.model_inspection import InspectedModel, takes_gradient
from clearsight.debugger.capture.nonfinite import NonFiniteTracer, StepEvidence
from clearsight.debugger.capture.predictions import BatchPredictions, Single, output_range
from clearsight.debugger.capture.safe_hook import HookGroup
from clearsight.debugger.capture.samples import FeatureSampler, ImageSampler, last_layer
from clearsight.debugger.capture.save_plan import SavePlan
from clearsight.debugger.capture.snapshot_builder import CaptureSchedule, ParameterUpdates, SnapshotBuilder
from clearsight.debugger.capture.statistics import are_images, channels, fingerprints
from clearsight.debugger.capture.transfer import RecordSender

_FINGERPRINTED = 2  # epochs: enough to know every image, and to see whether it comes again unchanged
_LAST_FORWARDS = 8  # of a step with accumulated batches: the inputs of the last ones stay in memory for a trace


@dataclass(eq=False)
class StepCapture:
    """Collects what is seen of the step under way.

    builder: of the snapshot; None where nothing is due.  scalars: of the step, tensors where they lie on a device.
    stale_gradients: L2 of gradients of trained weights before the step's first backward, by the weight's id.
    raw_gradient: of the last weight, after the step's last backward.  updates: parameters before the optimizer's step.
    calls: how often each layer was called in this pass, from 0.
    inputs_read, range_sent: of an accumulated batch only the first part is read.
    """

    at: Moment
    builder: SnapshotBuilder | None = None
    evidence: StepEvidence = field(default_factory=StepEvidence)
    scalars: dict[str, Tensor] = field(default_factory=dict)
    stale_gradients: dict[int, Tensor] = field(default_factory=dict)
    raw_gradient: Tensor | None = None
    updates: ParameterUpdates | None = None
    calls: dict[str, int] = field(default_factory=dict)
    inputs_read: bool = False
    range_sent: bool = False


class Probe:
    """Observes one model at a time.

    plan: which steps and tensors, and how deep.  emit: receives the records, in order; the scalars of a step are
    returned by `end_step` instead.  planned_steps: of the run, 0 for not known.  guard: shared with the owner of the
    probe; after a failure the owner calls `release`. Without one the probe has a guard of its own.

    Once attached no method and no hook raises: the first error turns the guard off.
    """

    def __init__(
        self, plan: SavePlan, emit: Callable[[SavedRecord], None], *, planned_steps: int = 0, guard: Guard | None = None
    ) -> None:
        self.guard = guard or Guard("the debugger", on_failure=lambda error: self.release())
        self.sender = RecordSender(emit)
        self.replay = ReplayFlag()
        self.capture = StepCapture(Moment("train", 1, 1, 0))
        self._model: InspectedModel | None = None
        self._schedule = CaptureSchedule(plan)
        self.comparison = ModeComparison(planned_steps)
        self._tracer = NonFiniteTracer(self.sender, self.replay)
        self._images, self._features = ImageSampler(self.sender), FeatureSampler(self.sender)
        self._forward_counts: dict[Mode, int] = {"train": 0, "eval": 0, "predict": 0}
        # Three lifetimes: of the attached model, of a step in which something is due, of one forward pass in it.
        self._hooks, self._step_hooks, self._pass_hooks = HookGroup(), HookGroup(), HookGroup()
        self._in_optimizer_step = False

    @property
    def at(self) -> Moment:
        """The moment of the step under way."""
        return self.capture.at

    def attach(self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> AbstractContextManager[Any]:
        """Observe this model from now on, instead of the one before; the returned block detaches at its end."""
        self.detach()
        self._tracer.traced = False
        self._model = inspected = InspectedModel.of(model, optimizer)
        if inspected.entry is not None:
            self._hooks.attach(inspected.entry.register_forward_pre_hook, self._on_forward, with_kwargs=True)
        if (layer := last_layer(inspected)) is not None:
            self._hooks.attach(layer.register_forward_pre_hook, self._on_last_layer)
        if optimizer is not None:
            self.follow(optimizer)
        block = ExitStack()
        block.callback(self.detach)
        return block

    def follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Observe the updates of this optimizer of the attached model; it may be in the middle of its first step."""
        if self._model is not None:
            self._model = self._model.with_optimizer(optimizer)
        self._hooks.attach(optimizer.register_step_pre_hook, self._before_update)
        self._hooks.attach(optimizer.register_step_post_hook, self._after_update)

    def detach(self) -> None:
        """Leave the model and emit what is still on its way. May be called at any time, and twice."""
        self._remove_step_hooks()
        self._hooks.remove()
        self._in_optimizer_step = False
        self.guard.run(self._send_snapshot)
        self.guard.run(self._features.finish)
        self.guard.run(self._images.thumbnails.finish)
        self.capture = StepCapture(self.capture.at)
        self.guard.run(self.sender.deliver, wait=True)
        self._model = None

    def release(self) -> None:
        """Remove the hooks after a failure."""
        self._remove_step_hooks()
        # Removing one now would break the loop of the optimizer over its hooks: `end_step` or `detach` removes them.
        if not self._in_optimizer_step:
            self._hooks.remove()

    @guarded
    def begin_step(self, step: int, epoch: int) -> None:
        """Prepare for the forward passes of optimizer step `step`, from 1."""
        self._features.end_phase("eval")
        self._images.thumbnails.end_phase("eval")
        self._begin(Moment("train", step, epoch, step))
        if (builder := self.capture.builder) is None or (model := self._model) is None:
            return
        if builder.statistics and model.last is not None:
            for parameter in filter(takes_gradient, model.sampled):
                self._step_hooks.attach(parameter.register_hook, partial(self._on_first_backward, parameter))
            if model.optimizer is not None and takes_gradient(model.last):
                self._step_hooks.attach(model.last.register_post_accumulate_grad_hook, self._on_raw_gradient)
        if model.optimizer is None:
            self.capture.updates = ParameterUpdates(model, builder)
            for name, parameter in (item for item in model.trainable if takes_gradient(item[1])):
                self._step_hooks.attach(parameter.register_post_accumulate_grad_hook, partial(self._on_gradient, name))

    @guarded
    def begin_evaluation(self, epoch: int, train_step: int, mode: Mode = "eval", *, unseen: bool = False) -> None:
        """Prepare for the forward passes of an evaluation, or prediction, after `train_step` optimizer steps.

        unseen: True for one pass of a model that has no hooks.
        """
        self._features.end_phase("train")
        self._forward_counts[mode] += unseen
        # The builder comes with the first forward pass: this is no step of its own.
        self._begin(Moment(mode, self._forward_counts[mode] + (not unseen), epoch, train_step), is_step=False)

    @guarded
    def record_predictions(self, logits: Any, labels: Any, indices: Any = None, single: Single = "") -> None:
        """Record the output of a forward pass, in training before its backward. Ignores what is no classification.

        logits: (N, C) float.  labels: (N,) int, or (N, C) shares.  indices: (N,) int places in the split.
        Tensors on any device, or arrays.  single: as of `BatchPredictions`.
        """
        batch = BatchPredictions.of(logits, labels, indices, single)
        if batch is not None:
            self.record_batch(batch)

    @guarded
    def record_batch(self, batch: BatchPredictions) -> None:
        """Record predictions as `record_predictions` does."""
        capture = self.capture
        capture.evidence.predictions = batch
        self.sender.predictions(capture.at, batch.columns())
        self._features.add(capture.at, batch.labels, batch.predictions)
        self._images.thumbnails.add(capture.at.mode, batch.labels, batch.predictions)
        if capture.at.mode == "train":
            self._compare_modes(batch)
        if (builder := capture.builder) is None:
            return
        builder.add_whole("labels", "labels", batch.labels)
        builder.add_whole("predictions", "predictions", batch.predictions)
        if builder.statistics and capture.at.mode == "train" and not capture.range_sent:
            capture.range_sent = True
            self.sender.tensor(capture.at, "outputs", "output_range", output_range(batch.logits))

    def _compare_modes(self, batch: BatchPredictions) -> None:
        forwards, step = self.capture.evidence.forwards, self.capture.at.step
        # At any step: a short run has few steps with statistics, and needs several comparisons.
        if forwards and self._model is not None and self.comparison.due(step):
            with self.replay.raised():
                self.capture.scalars |= self.comparison.losses(step, self._model, forwards[-1], batch)

    @guarded
    def check_loss(self, loss: Tensor, name: str = "loss") -> None:
        """Trace a loss of this step that is not finite; call it before its backward."""
        self.capture.evidence.loss_name = name
        if self.at.mode == "train" and self._model is not None:
            self._tracer.check_loss(self.at, self._model, self.capture.evidence, loss)

    def end_step(self) -> dict[str, Tensor | float]:
        """Return the scalars of the step, after its optimizer step. On CUDA they are tensors, so that nothing waits.

        grad_norm: L2 of all gradients as the optimizer used them.  On due steps also update_ratio, stale_gradient and
        clip_ratio (the last weight's gradient as used over that of the backward), a few times a run train_mode_loss
        and eval_mode_loss, once eval_mode_difference.
        """
        if self.guard.off:
            self._hooks.remove()  # those that `release` left to the optimizer
            return {}
        return self.guard.run_or({}, self._end_step)

    def _end_step(self) -> dict[str, Tensor | float]:
        capture = self.capture
        scalars, builder, model = capture.scalars, capture.builder, self._model
        if builder is not None and model is not None:
            if model.optimizer is None and capture.updates is not None:
                capture.updates.after()
            ratio = builder.update_ratio([name for name, _ in model.trained])
            stale = list(capture.stale_gradients.values())
            largest = torch.stack([norm.to(stale[0].device) for norm in stale]).max() if stale else None
            more = {"update_ratio": ratio, "stale_gradient": largest}
            scalars |= {name: value for name, value in more.items() if value is not None}
        self._remove_step_hooks()
        self.guard.run(self._send_snapshot)  # its failure does not cost the scalars, which are there already
        self.capture = StepCapture(capture.at)
        self.sender.deliver()
        # A tensor on another device stays one: reading it would wait.
        return {name: value.item() if value.device.type == "cpu" else value for name, value in scalars.items()}

    # A step begins and ends

    def _begin(self, at: Moment, *, is_step: bool = True) -> None:
        self._remove_step_hooks()
        self._send_snapshot()
        self.capture = StepCapture(at)
        self.sender.deliver()
        if is_step:
            self.capture.builder = self._schedule.builder(at)

    def _send_snapshot(self) -> None:
        builder, self.capture.builder = self.capture.builder, None
        if builder is not None:
            builder.send(self.sender)

    def _remove_step_hooks(self) -> None:
        self._pass_hooks.remove()
        self._step_hooks.remove()

    # Forward

    @guarded
    def _on_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if self.replay.active or torch.compiler.is_compiling() or self._model is None:
            return
        at = self.at
        self._forward_counts[at.mode] += 1
        if at.mode != "train":
            self._begin(Moment(at.mode, self._forward_counts[at.mode], at.epoch, at.train_step))
        else:
            forwards = self.capture.evidence.forwards
            self.capture.evidence.forwards = [*forwards[1 - _LAST_FORWARDS :], ForwardPass.of(args, kwargs)]
        inputs = list(tensors_in((args, kwargs)))
        images = inputs[0] if inputs and are_images(inputs[0]) else None
        self._features.begin()
        self._read_images(images)
        builder = self.capture.builder
        if builder is None or self.capture.inputs_read:
            self.capture.inputs_read = True
            return
        self.capture.inputs_read = True
        builder.add_several("inputs", "input", inputs)
        if images is not None and builder.statistics and self.at.mode == "train":
            self.sender.tensor(self.at, "inputs", "input_channels", channels(images))
        # Hooks on every layer, until the end of this forward pass.
        if builder.wants("activations"):
            for name, layer in self._model.layers:
                self._pass_hooks.attach(layer.register_forward_hook, partial(self._on_layer_output, name))
        self._pass_hooks.attach(module.register_forward_hook, self._on_output)

    def _read_images(self, images: Tensor | None) -> None:
        self._images.thumbnails.begin(self.at, images)
        if images is not None and self.at.epoch <= _FINGERPRINTED:
            self.sender.tensor(self.at, "inputs", "input_hashes", fingerprints(images))
        if images is not None and not self.capture.inputs_read:
            builder = self.capture.builder
            self._images.read(self.at, images, due=builder is not None and builder.statistics)

    @guarded
    def read_unseen(self, images: Tensor | None) -> None:
        """Read the images of an evaluation pass of a model without hooks, which has begun; None for not known."""
        if images is not None and are_images(images):
            self._read_images(images)

    @guarded
    def _on_last_layer(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not self.replay.active and args and isinstance(args[0], Tensor) and not torch.compiler.is_compiling():
            self._features.receive(args[0])

    @guarded
    def _on_layer_output(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        builder, tensor, calls = self.capture.builder, next(tensors_in(output), None), self.capture.calls
        if builder is None or tensor is None or self.replay.active:
            return
        call = calls[name] = calls.get(name, -1) + 1
        # Without autocast: statistics must not be computed in the lower precision of the model's layers.
        with torch.autocast(tensor.device.type, enabled=False):
            builder.add("activations", f"activation/{name}:{call}" if call else f"activation/{name}", tensor)

    @guarded
    def _on_output(self, module: nn.Module, args: Any, output: Any) -> None:
        if self.replay.active:
            return
        self._pass_hooks.remove()
        if self.capture.builder is not None:
            self.capture.builder.add_several("outputs", "output", tensors_in(output))

    # Backward and update

    @guarded
    def _on_first_backward(self, parameter: nn.Parameter, gradient: Tensor) -> None:
        if id(parameter) not in self.capture.stale_gradients:
            stale = parameter.grad  # what the step before left, since this backward is not added yet
            if stale is not None and stale.is_sparse:
                stale = stale.coalesce().values()
            norm = torch.zeros(()) if stale is None else torch.linalg.vector_norm(stale.detach().float())
            self.capture.stale_gradients[id(parameter)] = norm

    @guarded
    @torch.no_grad()
    def _on_raw_gradient(self, parameter: Tensor) -> None:
        if parameter.grad is not None and not parameter.grad.is_sparse:
            self.capture.raw_gradient = torch.linalg.vector_norm(parameter.grad.float())

    @guarded
    def _on_gradient(self, name: str, parameter: Tensor) -> None:
        capture, key = self.capture, f"gradient/{name}"
        if capture.builder is not None and parameter.grad is not None and key not in capture.calls:
            capture.calls[key] = 1
            capture.builder.add("gradients", key, parameter.grad)

    @guarded
    def _before_update(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        if not self._is_followed(optimizer):
            return
        self._in_optimizer_step = True
        if self.at.mode != "train":
            return
        # They are there already in the step at whose end the optimizer became known.
        if self.capture.builder is not None and self.capture.updates is None and self._model is not None:
            self.capture.updates = ParameterUpdates(self._model, self.capture.builder)
        if not has_closure(args, kwargs):  # a closure computes the gradients inside of the step
            self._read_gradients(optimizer)

    @guarded
    def _after_update(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if not self._is_followed(optimizer):
            return
        if self.at.mode == "train" and has_closure(args, kwargs):
            self._read_gradients(optimizer)
        if self.capture.updates is not None:
            self.capture.updates.after()
        self._in_optimizer_step = False

    def _is_followed(self, optimizer: torch.optim.Optimizer) -> bool:
        """Return False for the optimizer of an earlier phase."""
        return self._model is not None and self._model.optimizer is optimizer

    @torch.no_grad()
    def _read_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        assert self._model is not None
        capture, model = self.capture, self._model
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        scale = getattr(optimizer, "grad_scale", None)  # fused optimizers divide by it inside of the step
        if parameters:
            gradients = [p.grad.coalesce().values() if p.grad.is_sparse else p.grad for p in parameters]
            norms = torch.stack([n.float().to(gradients[0].device) for n in torch._foreach_norm(gradients)])
            norm = torch.linalg.vector_norm(norms)
            capture.scalars["grad_norm"] = norm if scale is None else norm / scale
            self._tracer.check_gradients(capture.at, model, capture.evidence, norms, parameters)
        if capture.raw_gradient is not None and model.last is not None and model.last.grad is not None:
            used = torch.linalg.vector_norm(model.last.grad.float())
            capture.scalars["clip_ratio"] = used / capture.raw_gradient.clamp(min=torch.finfo(torch.float32).tiny)
        if capture.builder is not None and capture.builder.wants("gradients"):
            for name, parameter in model.trainable:
                if parameter.grad is not None and f"gradient/{name}" not in capture.calls:
                    gradient = parameter.grad if scale is None else parameter.grad / scale
                    capture.builder.add("gradients", f"gradient/{name}", gradient)


def has_closure(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Return True if the arguments of an optimizer's step hold a closure, which computes the gradients inside."""
    # The first argument that an optimizer passes to its hooks is the optimizer itself.
    passed = args[1:] if args and isinstance(args[0], torch.optim.Optimizer) else args
    return any(value is not None for value in (*passed[:1], kwargs.get("closure")))
