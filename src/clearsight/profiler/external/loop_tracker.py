"""Course: which phase somebody's own training loop is in, from what PyTorch is seen to do.

A step ends with the optimizer's step, or where the script says so. What is not certain at first (a batch was asked for:
to train on it, or to evaluate?) is taken for training, and taken back when it proves to be none.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from clearsight.core.profile import Span
from clearsight.profiler.external.batch import BatchInfo
from clearsight.profiler.external.listener import LoopTimer, attempted

log = logging.getLogger(__name__)


class LoopTracker:
    """Told of events by `torch_events`, tells a stopwatch; used from the training thread, others pass unseen.

    open_watch: gives the stopwatch when the first sign of training is seen.  note: takes spans outside of steps.
    begun: told of the first forward pass that trains.  stepped_once: told of the end of the first step.
    tried: told whenever a part of what may be an evaluation is done.
    Methods named `begins_...` answer whether the event counts, so that `ends_...` must follow.
    """

    def __init__(
        self,
        open_watch: Callable[[], LoopTimer],
        note: Callable[[Span], None],
        *,
        begun: Callable[[nn.Module, tuple[Any, ...]], None] | None = None,
        stepped_once: Callable[[], None] | None = None,
        tried: Callable[[], None] = lambda: None,
    ) -> None:
        self.failure = ""
        self.silent = False  # for good: the process reads batches, or the measuring is over
        self.inside = ""  # the event under way; whatever happens within it is a part of it
        self.thread = threading.get_ident()
        self.done = self.epoch = 0
        self.last_batch: BatchInfo | None = None  # of those that were trained on
        self.ended_at = 0.0  # perf_counter, of the last step or span
        self._begun, self._stepped_once, self._after_trying = begun, stepped_once, tried
        self._open_watch, self._note = open_watch, note
        self._watch: LoopTimer | None = None
        self._origin = time.time() - time.perf_counter()
        self._roots: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._loss_open = self._manual = self._fresh = self._trains_in_eval = False
        # Of the step under way
        self._asked: float | None = None  # when its first event was
        self._progress = False  # whether anything was trained
        self._tried: list[nn.Module] = []  # evaluated so far: by a teacher in the step, or this is an evaluation
        self._tried_until = 0.0
        self._samples = self._passed = 0
        self._lead: nn.Module | None = None
        self._received: BatchInfo | None = None
        self._evaluation: tuple[float, float] | None = None
        # Of optimizers
        self._optimizing: Any = None
        self._cycle = OptimizerCycle()
        _LIVE.add(self)

    def fail(self, error: Exception) -> None:
        """Tell nothing any more."""
        self.failure = f"{type(error).__name__}: {error}"
        log.warning("the profiler stopped following the training loop: %s", self.failure)

    # Batches

    @attempted
    def begins_wait(self) -> bool:
        """A batch is asked for."""
        if self._elsewhere() or self.inside:
            return False
        if self._optimizing is not None:  # its step raised, and the script went on
            self._optimizing = None
            self._leave("optimizer")
        self._settle()
        if self._tried and not self._progress:
            self._evaluated()
        if not torch.is_grad_enabled():
            self._evaluate()
        else:
            self._asked = self._asked or time.perf_counter()
            self.inside = "data"
            self._enter("data")
        return True

    @attempted
    def ends_wait(self, describe: Callable[[], BatchInfo] | None) -> bool:
        """It is there, and can be described; None where there was none left."""
        inside, self.inside = self.inside, ""
        if inside == "evaluation":
            return self._evaluated_until_now()
        self._leave("data")
        if describe is not None:
            batch = describe()
            self._samples += batch.size
            self._fresh = self._fresh or batch.first
            self._received = batch
            if batch.images is not None and self._watch is not None:
                self._watch.note_images(batch.images)
        elif not self._progress:
            self._forget()
        return True

    # Passes

    @attempted
    def begins_call(self, module: nn.Module, args: tuple[Any, ...]) -> bool:
        """An outermost module is called."""
        if self._elsewhere() or self.inside:
            return False
        if isinstance(module, _Loss) or next(module.parameters(), None) is None:
            return False  # a loss, or a transform: neither begins a forward pass
        known = self._trains_in_eval or (self._progress and module in self._roots)
        if torch.is_grad_enabled() and (module.training or known):
            self._train(module, args)
        elif self._progress:
            return False  # a teacher, say, in the middle of a step
        else:
            self._try(module)
        return True

    @attempted
    def ends_call(self) -> bool:
        """That module has answered."""
        inside, self.inside = self.inside, ""
        if inside == "evaluation":
            return self._evaluated_until_now()
        self._leave("forward")
        if inside == "trying":
            self._tried_until = time.perf_counter()
            self._after_trying()
        else:
            self._loss_open = True
            self._enter("loss")
        return True

    @attempted
    def begins_backward(self) -> bool:
        """Gradients are asked for."""
        if self.inside or self._elsewhere(adopt=True):
            return False
        self._settle()
        if self._tried and not self._progress:  # it is trained in evaluation mode
            self._trains_in_eval = True
            self._roots.update(self._tried)
        self._end_evaluation()
        self._asked = self._asked or time.perf_counter()
        self._progress = True
        self.inside = "backward"
        self._enter("backward")
        return True

    @attempted
    def ends_backward(self) -> bool:
        """They are there."""
        self.inside = ""
        self._leave("backward")
        return True

    # Updates

    @attempted
    def begins_update(self, optimizer: Any) -> bool:
        """An optimizer begins its step; one inside of it (as in ZeRO) is a part of it."""
        if self._elsewhere() or self.inside:
            return False
        if self._optimizing is None:
            self._close_loss()
            self._end_evaluation()
            self._optimizing = optimizer
            self._asked = self._asked or time.perf_counter()
            self._enter("optimizer")
        return True

    @attempted
    def ends_update(self, optimizer: Any) -> bool:
        """It is done; several that step one after the other end one training step."""
        if self._optimizing is not optimizer or self._elsewhere():
            return False
        self._optimizing = None
        self._close_loss()
        self._leave("optimizer")
        after = self._cycle.updated()
        if self._manual:
            return True
        if after is AfterUpdate.ENDED:
            self._end_step()
        elif after is AfterUpdate.LATE:  # that step was ended too early; from now on it is known how many follow
            self._forget()
        return True

    @attempted
    def said_step(self, samples: int | None) -> bool:
        """The script says that a step has ended, and will from now on."""
        if self._elsewhere(adopt=True):
            return False
        counted = self.done and not self._manual and not self._progress
        self._manual = True
        if not counted:
            self._end_step(samples)
        return True

    # Moving and saving

    @attempted
    def begins_transfer(self) -> bool:
        """A tensor goes to another device, in a step or between two."""
        if self._elsewhere() or self.inside not in ("", "data", "forward"):
            return False
        if self._asked is None and self.done == 0:
            return False  # the model on its way to the GPU
        if self._evaluation is not None or (self._tried and not self._progress):
            return False
        self._asked = self._asked or time.perf_counter()
        self._enter("transfer")
        return True

    @attempted
    def ends_transfer(self) -> bool:
        """It is there."""
        self._leave("transfer")
        return True

    @attempted
    def begins_saving(self) -> bool:
        """A checkpoint is written; one in the middle of a step is a part of it."""
        if self._elsewhere() or self.inside or self._progress or self._watch is None:
            return False
        self._settle()
        if self._tried:
            self._evaluated()
        self._end_evaluation()
        self._forget()
        self.inside = "checkpoint"
        self._asked = time.perf_counter()
        return True

    @attempted
    def ends_saving(self) -> bool:
        """It is written."""
        self.inside = ""
        began, self._asked = self._asked, None
        if began is not None:
            self._span("checkpoint", began, time.perf_counter())
        return True

    def close(self) -> None:
        """The loop is over; what was begun and not finished is left out."""
        if not self.silent and not self.failure:
            try:
                self._settle()
                if self._tried and not self._progress:
                    self._evaluated()
                self._end_evaluation()
            except Exception as error:
                self.fail(error)
        self.silent = True

    def _elsewhere(self, *, adopt: bool = False) -> bool:
        """Whether this is another thread than that which trains. adopt: from now on it is this one, if it may be."""
        here = threading.get_ident()
        if here != self.thread and adopt and self._watch is None:
            self.thread = here
        return here != self.thread

    def _train(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._settle()
        self._end_evaluation()
        self._asked = self._asked or time.perf_counter()
        self._roots.add(module)
        self._progress = True
        if self._lead is None:
            self._lead = module
        if self._lead is module and args and isinstance(args[0], Tensor) and args[0].ndim:
            self._passed += len(args[0])
        if self._begun is not None:
            begun, self._begun = self._begun, None
            begun(module, args)
        self.inside = "forward"
        self._enter("forward")

    def _try(self, module: nn.Module) -> None:
        """A pass that trains nothing, before anything was trained in this step."""
        self._settle()
        if module in self._roots or module in self._tried or self._evaluation is not None:
            self._evaluated()
            self._evaluate()
            return
        self._asked = self._asked or time.perf_counter()
        self._tried.append(module)
        self.inside = "trying"
        self._enter("forward")

    def _evaluate(self) -> None:
        """What goes on is an evaluation."""
        if self._progress or self._asked is not None:
            self._forget()
        now = time.perf_counter()
        self._evaluation = (self._evaluation[0] if self._evaluation else now, now)
        self.inside = "evaluation"

    def _evaluated(self) -> None:
        """What was taken for a step was an evaluation."""
        began = self._evaluation[0] if self._evaluation else self._asked or time.perf_counter()
        self._evaluation = (began, self._tried_until or time.perf_counter())
        self._forget()

    def _evaluated_until_now(self) -> bool:
        if self._evaluation is not None:
            self._evaluation = (self._evaluation[0], time.perf_counter())
            self._after_trying()
        return True

    def _end_evaluation(self) -> None:
        if self._evaluation is not None:
            (began, ended), self._evaluation = self._evaluation, None
            self._span("validation", began, ended)

    def _settle(self) -> None:
        """Something new begins: what stood open before it ends."""
        self._close_loss()
        if self._optimizing is not None:
            self._cycle.restart()
        elif self._cycle.over() and not self._manual:
            self._end_step()

    def _close_loss(self) -> None:
        if self._loss_open:
            self._loss_open = False
            self._leave("loss")

    def _end_step(self, samples: int | None = None) -> None:
        self._close_loss()
        self.done += 1
        if self._fresh or not self.epoch:
            self.epoch += 1
        if self._samples and self._received is not None:
            self.last_batch = self._received
        told = samples if samples is not None else self._samples or self._passed
        self._watched().step(self.done, self.epoch, told)
        self.ended_at = time.perf_counter()
        self._clear()
        if self._stepped_once is not None:
            stepped_once, self._stepped_once = self._stepped_once, None
            stepped_once()

    def _forget(self) -> None:
        """What was done since the last step belongs to none."""
        self._close_loss()
        if self._watch is not None:
            self._watch.cut()
        self._clear()

    def _clear(self) -> None:
        self._asked, self._progress, self._lead, self._fresh = None, False, None, False
        self._tried, self._tried_until = [], 0.0
        self._samples = self._passed = 0
        self._received = None

    def _enter(self, phase: str) -> None:
        self._watched().phase(phase).__enter__()

    def _leave(self, phase: str) -> None:
        self._watched().phase(phase).__exit__(None, None, None)

    def _watched(self) -> LoopTimer:
        if self._watch is None:
            self._watch = self._open_watch()
        return self._watch

    def _span(self, name: str, began: float, ended: float) -> None:
        self.ended_at, start = ended, self._origin + began
        self._note(Span(name=name, start=start, seconds=ended - began, step=self.done, epoch=self.epoch))


_LIVE: weakref.WeakSet[LoopTracker] = weakref.WeakSet()


def _silence() -> None:
    """A forked process is not the one that trains: its files are the parent's."""
    for course in _LIVE:
        course.silent = True


os.register_at_fork(after_in_child=_silence)


class AfterUpdate(Enum):
    """After an optimizer's step: the training step has ended, or others are to come, or it had ended already."""

    ENDED = "ended"
    WAITS = "waits"
    LATE = "late"


class OptimizerCycle:
    """Counts the optimizers' steps between two passes of the model. At first it takes each for the last one."""

    def __init__(self) -> None:
        self._seen, self._expected = 0, 1

    def updated(self) -> AfterUpdate:
        """An optimizer has made its step."""
        self._seen += 1
        if self._seen > self._expected:
            self._expected = self._seen
            return AfterUpdate.LATE
        return AfterUpdate.ENDED if self._seen == self._expected else AfterUpdate.WAITS

    def over(self) -> bool:
        """Something else begins. Whether a training step still waits for optimizers, which do not come now."""
        if not self._seen:
            return False
        waited = self._seen < self._expected
        self._expected, self._seen = self._seen, 0
        return waited

    def restart(self) -> None:
        """What was seen does not count: a closure's passes lie within the optimizer's step, as of L-BFGS."""
        self._seen = 0
