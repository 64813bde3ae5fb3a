"""ExternalLoop: follows a training loop that knows nothing of the debugger, by hooks on its model and optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from clearsight.core.guard import Guard, guarded
from clearsight.debugger.capture.model_inspection import InspectedModel, describe_model
from clearsight.debugger.capture.predictions import BatchPredictions, as_tensor
from clearsight.debugger.capture.safe_hook import HookGroup
from clearsight.debugger.capture.step_counter import StepCounter
from clearsight.debugger.session import CaptureSession


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
        self._session, self._counter = session, counter
        self._model, self._optimizer = inspected.model, optimizer
        self._sees_forward = inspected.entry is not None
        self._mode = counter.mode(training=True)
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
        for name, module in losses.items():
            self._hooks.attach(module.register_forward_hook, partial(self._on_loss, name), with_kwargs=True)

    @property
    def guard(self) -> Guard:
        """The guard of the session."""
        return self._session.guard

    def remove(self) -> None:
        """Remove every hook, the probe's too."""
        self._hooks.remove()
        self._session.probe.detach()

    def release(self) -> None:
        """Remove the hooks after a failure."""
        # The optimizer runs through its hooks: removing one now would break its loop. They do nothing from now on, and
        # the next forward pass removes them.
        if not self._in_optimizer_step:
            self.remove()

    def end_forward_step(self) -> None:
        """End the step under way where steps are forward passes: the next pass begins, or the training is over."""
        if self._counter.open and self._optimizer is None:
            self._end_step()

    def record(self, name: str, loss: Tensor | None, logits: Any, labels: Any, indices: Any = None) -> None:
        """Record loss and predictions of a forward pass, before its backward. Not guarded.

        loss: of any shape, its mean counts.  logits: (N, C).  labels: (N,).  indices: (N,) places in the split.
        """
        probe = self._session.probe
        if not self._sees_forward:
            self._begin_forward()
        scalars: dict[str, Tensor | float] = {}
        if loss is not None and loss.numel():
            scalars[name] = loss.float().mean()
        batch = None
        if logits is not None and labels is not None and not self._has_predictions:
            batch = BatchPredictions.of(as_tensor(logits), as_tensor(labels))
        if batch is not None:
            self._has_predictions = True
            scalars["accuracy"] = batch.accuracy()
            self._set_batch_size(len(batch.labels))
            probe.record_predictions(logits, labels, indices)
        if loss is not None and loss.numel():
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
        self._mode = self._counter.mode(training=self._model.training)
        self._has_predictions = False
        self.end_forward_step()
        if self._mode == "train":
            self._begin_step()
            return
        self._counter.abandon()  # forward passes that no optimizer step followed: the rest of an accumulation, say
        is_first = self._mode == "eval" and self._counter.begin_evaluation()
        probe = self._session.probe
        if is_first or probe.at.mode != self._mode:
            probe.begin_evaluation(self._counter.epoch, self._counter.done, self._mode)

    @guarded
    def _before_update(self, *_: Any) -> None:
        self._in_optimizer_step = True
        self._begin_step()  # where no forward pass in train mode was seen

    @guarded
    def _after_update(self, *_: Any) -> None:
        if self._counter.open:
            self._end_step()
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
        self.record(name, output.detach(), logits, labels)

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

    def _set_batch_size(self, size: int) -> None:
        tape = self._session.tape
        if not tape.context.batch_size and self._mode == "train":
            # In memory alone: the file is written again when the hook is closed.
            tape.context = replace(tape.context, batch_size=size)
