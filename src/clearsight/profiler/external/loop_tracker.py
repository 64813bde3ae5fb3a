"""LoopTracker: which phase an external training loop is in, derived from its calls of PyTorch.

A step ends with the optimizer's step, or where the script marks its end. What is not certain at first (the script
loads a batch: to train on it, or to evaluate?) is taken for training, and taken back where it proves to be none.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from clearsight.core.guard import Guard, guarded
from clearsight.profiler.external.loop_inspection import BatchInfo
from clearsight.profiler.external.loop_state import AfterUpdate, LoopRecorder, LoopState, OptimizerCycle, StepUnderWay

# Bound once: in Python 3.11 the lookup of an Enum's member takes as long as a function call.
_IDLE, _LOADING, _FORWARD, _UNCERTAIN_FORWARD, _EVALUATION, _BACKWARD, _SAVING = LoopState


@dataclass(slots=True)
class LoopCallbacks:
    """Functions that a tracker calls.

    first_pass: before the first forward pass that trains, with the module and its arguments.  first_step: after the
    first step.  evaluated: whenever a part of what may be an evaluation is done.
    """

    first_pass: Callable[[nn.Module, tuple[Any, ...]], None] | None = None
    first_step: Callable[[], None] | None = None
    evaluated: Callable[[], None] = lambda: None


class LoopTracker:
    """Receives events from `torch_hooks` and records phases, steps and spans. Events of other threads do not count.

    Methods named `begin_...` return True if the event counts, so that `end_...` must follow. In between the tracker may
    fall silent: in a process that forks itself while it loads a batch.
    """

    def __init__(self, recorder: LoopRecorder, callbacks: LoopCallbacks | None = None) -> None:
        self.recorder, self._callbacks = recorder, callbacks or LoopCallbacks()
        self.guard = Guard("the profiler's tracking of the training loop", report=logging.getLogger(__name__).warning)
        self.silent = False  # for good: the process loads batches for another one, or the measuring is over
        self.state = _IDLE
        self.thread = threading.get_ident()  # the one that trains
        self._step = StepUnderWay()
        self._evaluation: tuple[float, float] | None = None  # its start and its end so far
        self._optimizer: Any = None  # the one whose step is under way
        self._cycle = OptimizerCycle()
        self._loss_open = False  # the phase from the end of the forward pass on
        # Knowledge about the loop
        self._roots: weakref.WeakSet[nn.Module] = weakref.WeakSet()  # modules that were trained
        self._trains_in_eval_mode = False
        self._marks_steps = False  # the script marks the ends of its steps
        _LIVE.add(self)

    # Batches

    @guarded(default=False)
    def begin_wait(self) -> bool:
        """Begin to load a batch."""
        if self._ignored() or self.state is not _IDLE:
            return False
        if self._optimizer is not None:  # its step raised an error, which the script caught
            self._optimizer = None
            self.recorder.leave("optimizer")
        self._complete_open_step()
        if self._step.may_be_evaluation:
            self._turn_into_evaluation()
        if not torch.is_grad_enabled():
            self._evaluate()
        else:
            self._step.begin()
            self.state = _LOADING
            self.recorder.enter("data")
        return True

    @guarded
    def end_wait(self, describe: Callable[[], BatchInfo] | None) -> None:
        """End the loading. describe: describes the batch, None where there was none left."""
        if self.silent:
            return
        if self._take_state() is _EVALUATION:
            self._extend_evaluation()
            return
        self.recorder.leave("data")
        step = self._step
        if describe is not None:
            batch = describe()
            step.samples += batch.size
            step.new_epoch = step.new_epoch or batch.first
            step.batch = batch
            self.recorder.note_batch(batch)
        elif not step.trained:  # the end of the epoch
            self._drop_step()

    # Passes

    @guarded(default=False)
    def begin_call(self, module: nn.Module, args: tuple[Any, ...]) -> bool:
        """Begin a call of an outermost module."""
        if self._ignored() or self.state is not _IDLE:
            return False
        if isinstance(module, _Loss) or next(module.parameters(), None) is None:
            return False  # a loss, or a transform: neither begins a forward pass
        known = self._trains_in_eval_mode or (self._step.trained and module in self._roots)
        if torch.is_grad_enabled() and (module.training or known):
            self._begin_training_pass(module, args)
        elif self._step.trained:
            return False  # in the middle of a step: a teacher, say
        else:
            self._begin_uncertain_pass(module)
        return True

    @guarded
    def end_call(self) -> None:
        if self.silent:
            return
        state = self._take_state()
        if state is _EVALUATION:
            self._extend_evaluation()
            return
        self.recorder.leave("forward")
        if state is _UNCERTAIN_FORWARD:
            self._step.uncertain_until = time.perf_counter()
            self._callbacks.evaluated()
        else:
            self._loss_open = True
            self.recorder.enter("loss")

    @guarded(default=False)
    def begin_backward(self) -> bool:
        """Begin to compute gradients."""
        if self.state is not _IDLE or self._ignored(adopt=True):
            return False
        self._complete_open_step()
        if self._step.may_be_evaluation:  # no evaluation after all: a model that is trained in evaluation mode
            self._trains_in_eval_mode = True
            self._roots.update(self._step.uncertain)
        self._end_evaluation()
        self._step.begin()
        self._step.trained = True
        self.state = _BACKWARD
        self.recorder.enter("backward")
        return True

    @guarded
    def end_backward(self) -> None:
        if not self.silent:
            self.state = _IDLE
            self.recorder.leave("backward")

    # Updates

    @guarded(default=False)
    def begin_update(self, optimizer: Any) -> bool:
        """Begin the step of an optimizer. One inside of it (as in ZeRO) is a part of it."""
        if self._ignored() or self.state is not _IDLE:
            return False
        if self._optimizer is None:
            self._close_loss()
            self._end_evaluation()
            self._optimizer = optimizer
            self._step.begin()
            self.recorder.enter("optimizer")
        return True

    @guarded
    def end_update(self, optimizer: Any) -> None:
        """End the step of an optimizer. Several that step one after the other end one training step."""
        if self._optimizer is not optimizer or self._ignored():
            return
        self._optimizer = None
        self._close_loss()
        self.recorder.leave("optimizer")
        after = self._cycle.updated()
        if self._marks_steps:
            return
        if after is AfterUpdate.ENDED:
            self._end_step()
        elif after is AfterUpdate.LATE:  # the step was ended too early; from now on the number of optimizers is known
            self._drop_step()

    @guarded
    def mark_step(self, samples: int | None) -> None:
        """End a step where the script says so, and from now on only there. samples: None for what was seen."""
        if self._ignored(adopt=True):
            return
        # The first marked step may have been ended by its optimizer a moment ago: it must not count twice.
        ended_before = self.recorder.steps and not self._marks_steps and not self._step.trained
        self._marks_steps = True
        if not ended_before:
            self._end_step(samples)

    # Transfers and checkpoints

    @guarded(default=False)
    def begin_transfer(self) -> bool:
        """Begin to move a tensor to another device, in a step or between two."""
        if self._ignored() or self.state not in (_IDLE, _LOADING, _FORWARD):
            return False
        if self._step.start is None and self.recorder.steps == 0:
            return False  # the model on its way to the GPU
        if self._evaluation is not None or self._step.may_be_evaluation:
            return False
        self._step.begin()
        self.recorder.enter("transfer")
        return True

    @guarded
    def end_transfer(self) -> None:
        if not self.silent:
            self.recorder.leave("transfer")

    @guarded(default=False)
    def begin_saving(self) -> bool:
        """Begin to write a checkpoint. One in the middle of a step is a part of it."""
        if self._ignored() or self.state is not _IDLE:
            return False
        if self._step.trained or not self.recorder.started:
            return False
        self._complete_open_step()
        if self._step.uncertain:
            self._turn_into_evaluation()
        self._end_evaluation()
        self._drop_step()
        self.state = _SAVING
        self._step.begin()
        return True

    @guarded
    def end_saving(self) -> None:
        if self.silent:
            return
        self.state = _IDLE
        start, self._step.start = self._step.start, None
        if start is not None:
            self.recorder.span("checkpoint", start, time.perf_counter())

    def close(self) -> None:
        """End the tracking. What was begun and not finished is left out."""
        if not self.silent:
            self.guard.run(self._finish)
        self.silent = True

    def _finish(self) -> None:
        self._complete_open_step()
        if self._step.may_be_evaluation:
            self._turn_into_evaluation()
        self._end_evaluation()

    def _ignored(self, *, adopt: bool = False) -> bool:
        """Return True if events of this thread do not count. adopt: before training, take it for the trainer."""
        if self.silent:
            return True
        thread = threading.get_ident()
        # The profiler may have been started on another thread. A backward pass or a marked step shows which one trains.
        if thread != self.thread and adopt and not self.recorder.started:
            self.thread = thread
        return thread != self.thread

    def _take_state(self) -> LoopState:
        state, self.state = self.state, _IDLE
        return state

    def _begin_training_pass(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._complete_open_step()
        self._end_evaluation()
        step = self._step  # not before: completing an open step replaces it
        step.begin()
        self._roots.add(module)
        step.trained = True
        if step.lead is None:
            step.lead = module
        if step.lead is module and args and isinstance(args[0], Tensor) and args[0].ndim:
            step.inputs += len(args[0])
        if self._callbacks.first_pass is not None:
            first_pass, self._callbacks.first_pass = self._callbacks.first_pass, None
            first_pass(module, args)
        self.state = _FORWARD
        self.recorder.enter("forward")

    def _begin_uncertain_pass(self, module: nn.Module) -> None:
        """Begin a pass that trains nothing, before anything was trained in this step."""
        self._complete_open_step()
        step = self._step
        # A second call of the same module, or of one that is trained otherwise, shows that this is an evaluation.
        if module in self._roots or module in step.uncertain or self._evaluation is not None:
            self._turn_into_evaluation()
            self._evaluate()
            return
        step.begin()
        step.uncertain.append(module)
        self.state = _UNCERTAIN_FORWARD
        self.recorder.enter("forward")

    def _evaluate(self) -> None:
        """Begin a part of an evaluation."""
        if self._step.trained or self._step.start is not None:
            self._drop_step()
        now = time.perf_counter()
        self._evaluation = (self._evaluation[0] if self._evaluation else now, now)
        self.state = _EVALUATION

    def _turn_into_evaluation(self) -> None:
        """Take what looked like a step for an evaluation."""
        step = self._step
        start = self._evaluation[0] if self._evaluation else step.start or time.perf_counter()
        self._evaluation = (start, step.uncertain_until or time.perf_counter())
        self._drop_step()

    def _extend_evaluation(self) -> None:
        if self._evaluation is not None:
            self._evaluation = (self._evaluation[0], time.perf_counter())
            self._callbacks.evaluated()

    def _end_evaluation(self) -> None:
        if self._evaluation is not None:
            (start, end), self._evaluation = self._evaluation, None
            self.recorder.span("validation", start, end)

    def _complete_open_step(self) -> None:
        """End what is still open before something new begins."""
        self._close_loss()
        if self._optimizer is not None:
            self._cycle.restart()
        elif self._cycle.over() and not self._marks_steps:
            self._end_step()

    def _close_loss(self) -> None:
        if self._loss_open:
            self._loss_open = False
            self.recorder.leave("loss")

    def _end_step(self, samples: int | None = None) -> None:
        self._close_loss()
        self.recorder.step(self._step, samples)
        self._step = StepUnderWay()
        if self._callbacks.first_step is not None:
            first_step, self._callbacks.first_step = self._callbacks.first_step, None
            first_step()

    def _drop_step(self) -> None:
        """Drop what was done since the last step: it belongs to none."""
        self._close_loss()
        self.recorder.cut()
        self._step = StepUnderWay()


_LIVE: weakref.WeakSet[LoopTracker] = weakref.WeakSet()


def _silence_trackers() -> None:
    """Silence the trackers in a forked process: it is not the one that trains, and its files are the parent's."""
    for tracker in _LIVE:
        tracker.silent = True


os.register_at_fork(after_in_child=_silence_trackers)
