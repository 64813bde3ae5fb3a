"""Probe: listens to a model and its optimizer while they train, and makes records. It knows no files and no rules.

What is computed does not change: parameters, buffers, gradients, random state and modes are bit for bit those of an
unwatched run. Between due steps one hook on the model as a whole is all there is on it; after `detach` nothing is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from clearsight.core.guard import guarded
from clearsight.core.tensors import Event, Mode, Moment, RawTensor, SavedRecord, SaveSchedule
from clearsight.debugger.capture.forward_replay import ForwardPass, all_finite, tensors_in
from clearsight.debugger.capture.images import are_images, channels, fingerprints
from clearsight.debugger.capture.mode_comparison import ModeComparison
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.nonfinite import Birth, birthplace, birthplace_seen, on_device
from clearsight.debugger.capture.predictions import BatchPredictions, as_tensor, output_range, prediction_record
from clearsight.debugger.capture.safe_hook import SafeHook
from clearsight.debugger.capture.save_plan import Depth, SaveRequest
from clearsight.debugger.capture.schedule import CaptureSchedule
from clearsight.debugger.capture.snapshot_builder import SnapshotBuilder, full_precision, number
from clearsight.debugger.capture.statistics import SAMPLE
from clearsight.debugger.capture.transfer import Arrays, TransferQueue
from clearsight.debugger.capture.updates import ParameterUpdates

_FINGERPRINTED = 2  # epochs: enough to know every image, and that it comes again unchanged
_KEPT_PASSES = 8  # of a step with accumulated batches: the last ones are kept for a post-mortem


class Probe:
    """Watches one model at a time.

    schedule: when statistics are made, by mode.  depth: "light" looks at a sample of each tensor, "full" at all of it.
    keep: whole tensors to keep.  emit: takes the records, in order; scalars are returned by `stepped` instead.
    planned_steps: of the run, 0 for not known.

    No method and no hook raises once it is attached: at the first error of its own the probe detaches, keeps the error
    in `failure` and tells `failed`.

    NaN and infinity: on a CPU the norm of the gradient is looked at in every step; the first that is not finite is
    traced by computing the step's forward passes again. On CUDA nothing waits for the device, so that the news arrives
    some steps late, when the weights are spoilt already: then it is only told whether the inputs, the model's output or
    a gradient came first.
    """

    def __init__(
        self,
        schedule: Mapping[Mode, SaveSchedule],
        depth: Depth = "light",
        keep: Sequence[SaveRequest] = (),
        emit: Callable[[SavedRecord], None] = lambda record: None,
        *,
        planned_steps: int = 0,
        failed: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        self._sample = SAMPLE if depth == "light" else None
        self._calendar = CaptureSchedule(schedule, keep, self._sample)
        self._emit, self._failed = emit, failed
        self.failure: Exception | None = None
        self.outbox = TransferQueue()
        self.watched: InspectedModel | None = None
        self._examined = False  # the first NaN or infinity is traced once
        self._forwards: dict[Mode, int] = {"train": 0, "eval": 0, "predict": 0}
        self._comparison = ModeComparison(planned_steps)
        self._permanent, self._temporary = ExitStack(), ExitStack()
        self._updating = False  # inside of the optimizer's step
        self.replaying = False  # a forward pass of its own is going on: nobody else's hook need count it
        self._ranged = False
        self._answers: BatchPredictions | None = None
        self._changes: ParameterUpdates | None = None
        self._reset(Moment("train", 1, 1, 0))

    def attach(self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> AbstractContextManager[Any]:
        """Listen to this model from now on; the returned block detaches at its end. What was there before is left."""
        self.detach()
        self.failure, self._examined = None, False
        self.watched = watched = InspectedModel.of(model, optimizer)
        hooks = self._permanent
        if watched.entry is not None:
            hooks.callback(watched.entry.register_forward_pre_hook(SafeHook(self._enters), with_kwargs=True).remove)
        if optimizer is not None:
            hooks.callback(optimizer.register_step_pre_hook(SafeHook(self._before)).remove)
            hooks.callback(optimizer.register_step_post_hook(SafeHook(self._after)).remove)
        left = ExitStack()
        left.callback(self.detach)
        return left

    def detach(self) -> None:
        """Leave the model; records on their way are delivered. May be called at any time, and twice."""
        self._temporary.close()
        self._permanent.close()
        self._updating = False
        self._send_take()
        self._reset(self.at)
        if self.failure is None:
            try:
                self.outbox.deliver(wait=True)
            except Exception as error:
                self._fail(error)
        self.watched = None

    @guarded
    def step(self, step: int, epoch: int) -> None:
        """The forward passes of optimizer step `step`, from 1, come next."""
        self._begin(Moment("train", step, epoch, step))
        if self._take is None or self.watched is None:
            return
        if self._take.statistics and self.watched.last is not None:
            parameter = self.watched.last
            ear = SafeHook(partial(self._first_backward, parameter))
            self._temporary.callback(parameter.register_hook(ear).remove)  # type: ignore[no-untyped-call]
        if self.watched.optimizer is None:
            self._changes = ParameterUpdates(self.watched, self._take, self._sample)
            self._changes.before()
            for name, parameter in self.watched.trainable:
                ear = SafeHook(partial(self._accumulated, name))
                hook = parameter.register_post_accumulate_grad_hook(ear)  # type: ignore[no-untyped-call]
                self._temporary.callback(hook.remove)

    @guarded
    def evaluating(self, epoch: int, train_step: int, mode: Mode = "eval") -> None:
        """Forward passes of an evaluation (or prediction) after `train_step` optimizer steps come next."""
        self._begin(Moment(mode, self._forwards[mode] + 1, epoch, train_step), forwards=False)

    @guarded
    def answered(self, logits: Any, labels: Any, indices: Any = None) -> None:
        """Tell what a forward pass gave, in training before its backward. What is no classification is ignored.

        logits: (N, C) float.  labels: (N,) int, or (N, C) shares.  indices: (N,) int places in the split.
        Tensors on any device, or arrays.
        """
        logits, labels = as_tensor(logits), as_tensor(labels)
        answers = BatchPredictions.of(logits, labels, indices)
        if answers is None:
            return
        self._answers = answers
        self.outbox.send(partial(self._outcomes, self.at), answers.columns())
        if (take := self._take) is None:
            return
        take.keep("labels", "labels", answers.labels)
        take.keep("predictions", "predictions", answers.predictions)
        if take.statistics and self.at.mode == "train" and not self._ranged:
            self._ranged = True
            self._raw("output_range", "outputs", output_range(answers.logits))
            if self._comparison.due(self.at.step) and self._passes and self.watched is not None:
                with self._own_passes():
                    scalars = self._comparison.losses(self.at.step, self.watched, self._passes[-1], answers)
                self._scalars |= scalars

    @guarded
    def lost(self, loss: Tensor, name: str = "loss") -> None:
        """Tell a loss of this step, before its backward, so that one that is not finite can be traced."""
        self._loss_name = name
        if self.at.mode == "train" and loss.device.type == "cpu" and not self._examined and not all_finite(loss):
            self._post_mortem(False)

    def stepped(self) -> dict[str, Tensor | float]:
        """After the optimizer step: its scalars. On CUDA they are tensors, so that nothing waits.

        grad_norm: L2 of all gradients as the optimizer used them.  On due steps also update_ratio and stale_gradient,
        now and then train_mode_loss and eval_mode_loss.
        """
        if self.failure is not None:
            self._permanent.close()
            return {}
        try:
            return self._stepped()
        except Exception as error:
            self._fail(error)
            return {}

    def _stepped(self) -> dict[str, Tensor | float]:
        scalars, take = self._scalars, self._take
        if take is not None and self.watched is not None:
            if self.watched.optimizer is None and self._changes is not None:
                self._changes.after()
            ratio = take.ratio([name for name, _ in self.watched.trained])
            scalars |= {"update_ratio": ratio} if ratio is not None else {}
            scalars |= {"stale_gradient": self._stale} if self._stale is not None else {}
        self._temporary.close()
        self._send_take()
        self._reset(self.at)
        self.outbox.deliver()
        return {name: number(value) for name, value in scalars.items()}

    # A step begins

    def _reset(self, at: Moment) -> None:
        self.at = at
        self._take: SnapshotBuilder | None = None
        self._passes: list[ForwardPass] = []
        self._answers = None
        self._scalars: dict[str, Tensor | float] = {}
        self._stale: Tensor | None = None
        self._changes = None
        self._calls: dict[str, int] = {}
        self._seen_pass = self._ranged = False
        self._loss_name = "loss"

    def _begin(self, at: Moment, *, forwards: bool = True) -> None:
        self._temporary.close()
        self._send_take()
        self._reset(at)
        self.outbox.deliver()
        if forwards:
            self._take = self._calendar.take(at)

    def _send_take(self) -> None:
        if self._take is not None and self.failure is None:
            try:
                self._take.send(self.outbox, self._emit)
            except Exception as error:
                self._take = None
                self._fail(error)
        self._take = None

    # Forward

    @guarded
    def _enters(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if self.replaying or torch.compiler.is_compiling() or self.watched is None:
            return
        mode = self.at.mode
        self._forwards[mode] += 1
        if mode != "train":
            self._begin(Moment(mode, self._forwards[mode], self.at.epoch, self.at.train_step))
        else:
            self._passes = [*self._passes[1 - _KEPT_PASSES :], ForwardPass.of(args, kwargs)]
        inputs = list(tensors_in((args, kwargs)))
        if self.at.epoch <= _FINGERPRINTED and inputs and are_images(inputs[0]):
            self._raw("input_hashes", "inputs", fingerprints(inputs[0]))
        if self._take is not None and not self._seen_pass:
            self._seen_pass = True
            self._see_inputs(inputs)
            self._listen()

    def _listen(self) -> None:
        """Hear every layer, until the end of this pass."""
        assert self.watched is not None
        take, hooks = self._take, self._temporary.enter_context(ExitStack())
        assert take is not None
        if take.wants("activations"):
            for name, layer in self.watched.layers:
                hooks.callback(layer.register_forward_hook(SafeHook(partial(self._layer, name))).remove)
        if self.watched.entry is not None:
            hooks.callback(self.watched.entry.register_forward_hook(SafeHook(partial(self._leaves, hooks))).remove)

    @guarded
    def _layer(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        tensor = next(tensors_in(output), None)
        if self._take is None or tensor is None or self.replaying:
            return
        call = self._calls[name] = self._calls.get(name, -1) + 1
        with full_precision(tensor):
            self._take.see("activations", f"activation/{name}:{call}" if call else f"activation/{name}", tensor)

    @guarded
    def _leaves(self, hooks: ExitStack, module: nn.Module, args: Any, output: Any) -> None:
        if self.replaying:
            return
        hooks.close()
        for place, tensor in enumerate(tensors_in(output)):
            if self._take is not None:
                self._take.keep("outputs", f"output:{place}" if place else "output", tensor)

    @torch.no_grad()
    def _see_inputs(self, inputs: Sequence[Tensor]) -> None:
        take = self._take
        assert take is not None
        for place, tensor in enumerate(inputs):
            take.keep("inputs", f"input:{place}" if place else "input", tensor)
            if not place and take.statistics and self.at.mode == "train" and are_images(tensor):
                self._raw("input_channels", "inputs", channels(tensor))

    # Backward and update

    @guarded
    def _first_backward(self, parameter: nn.Parameter, gradient: Tensor) -> None:
        if self._stale is None:
            left = parameter.grad
            with torch.no_grad():
                self._stale = torch.zeros(()) if left is None else torch.linalg.vector_norm(left.detach().float())

    @guarded
    def _accumulated(self, name: str, parameter: Tensor) -> None:
        if self._take is not None and parameter.grad is not None and f"gradient/{name}" not in self._calls:
            self._calls[f"gradient/{name}"] = 1
            self._take.see("gradients", f"gradient/{name}", parameter.grad)

    @guarded
    def _before(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._updating = True
        if self.at.mode != "train":
            return
        if self._take is not None and self.watched is not None:
            self._changes = ParameterUpdates(self.watched, self._take, self._sample)
            self._changes.before()
        if not _has_closure(args, kwargs):  # a closure computes the gradients inside of the step
            self._see_gradients(optimizer)

    @guarded
    def _after(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if self.at.mode == "train" and _has_closure(args, kwargs):
            self._see_gradients(optimizer)
        if self._changes is not None:
            self._changes.after()
        self._updating = False

    @torch.no_grad()
    def _see_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        assert self.watched is not None
        held = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        scale = getattr(optimizer, "grad_scale", None)  # fused optimizers divide by it inside of the step
        if held:
            gradients = [p.grad.coalesce().values() if p.grad.is_sparse else p.grad for p in held]
            norms = torch.stack([n.float().to(gradients[0].device) for n in torch._foreach_norm(gradients)])
            norm = torch.linalg.vector_norm(norms)
            self._scalars["grad_norm"] = norm if scale is None else norm / scale
            self._check(norm, norms, held)
        if self._take is not None and self._take.wants("gradients"):
            for name, parameter in self.watched.trainable:
                if parameter.grad is not None:
                    gradient = parameter.grad.detach()
                    self._take.see("gradients", f"gradient/{name}", gradient if scale is None else gradient / scale)

    # NaN and infinity

    def _check(self, norm: Tensor, norms: Tensor, held: Sequence[Tensor]) -> None:
        if self._examined:
            return
        if norm.device.type == "cpu":
            if not math.isfinite(norm.item()):
                self._post_mortem(None)
            return
        assert self.watched is not None
        names = [self.watched.name(parameter) for parameter in held]
        self.outbox.send(partial(self._late_news, self.at, names), on_device(self._passes, self._answers, norms))

    def _late_news(self, at: Moment, names: Sequence[str], arrays: Arrays) -> None:
        birth = None if self._examined else birthplace_seen(names, arrays)
        if birth is not None:
            self._nonfinite(at, birth)

    def _post_mortem(self, loss_finite: bool | None) -> None:
        assert self.watched is not None
        with self._own_passes():
            birth = birthplace(self.watched, self._passes, self._answers, self._loss_name, loss_finite)
        self._nonfinite(self.at, birth)

    def _nonfinite(self, at: Moment, birth: Birth) -> None:
        self._examined = True
        where, subject = birth
        self._emit(Event(at, "nonfinite", subject, {"where": where}))

    @contextmanager
    def _own_passes(self) -> Iterator[None]:
        self.replaying = True
        try:
            yield
        finally:
            self.replaying = False

    # Sending

    def _raw(self, name: str, collection: str, value: Tensor) -> None:
        at = self.at
        self.outbox.send(lambda arrays: self._emit(RawTensor(at, name, collection, arrays[0])), [value])

    def _outcomes(self, at: Moment, columns: Arrays) -> None:
        record = prediction_record(at, columns)
        if len(record.labels):
            self._emit(record)

    def _fail(self, error: Exception) -> None:
        if self.failure is not None:
            return
        self.failure = error
        self._temporary.close()
        if not self._updating:  # the optimizer is going through its hooks: they are deaf now, and go later
            self._permanent.close()
        self._failed(error)


def _has_closure(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    # The optimizer itself is the first of the arguments that its hooks are told.
    given = args[1:] if args and isinstance(args[0], torch.optim.Optimizer) else args
    return any(value is not None for value in (*given[:1], kwargs.get("closure")))
