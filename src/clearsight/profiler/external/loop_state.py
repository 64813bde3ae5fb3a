"""State of an external training loop: the event under way, the step under way, and the cycle of its optimizers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum

from torch import nn

from clearsight.profiler.external.loop_inspection import BatchInfo


class LoopState(Enum):
    """Event under way. Everything that happens within it is a part of it.

    A step of an optimizer is not among them: a closure, as of L-BFGS, runs forward and backward passes within it.
    """

    IDLE = "idle"
    LOADING = "loading"  # a batch that may be trained on
    FORWARD = "forward"
    UNCERTAIN_FORWARD = "uncertain forward"  # it trains nothing: a teacher in a step, or the start of an evaluation
    EVALUATION = "evaluation"  # a batch or a forward pass of an evaluation
    BACKWARD = "backward"
    SAVING = "saving"


@dataclass(slots=True)
class StepUnderWay:
    """Training step that has not ended, or what looks like one so far.

    start: of its first event, from time.perf_counter, None before.  trained: something in it was trained.
    uncertain: modules that were called without training.  uncertain_until: end of the last such call.
    lead: the first module that was trained; the lengths of its inputs add up to `inputs`.
    samples: of the batches from a DataLoader, the last of which is `batch`.  new_epoch: one of them was the first of
    its epoch.
    """

    start: float | None = None
    trained: bool = False
    uncertain: list[nn.Module] = field(default_factory=list)
    uncertain_until: float = 0.0
    lead: nn.Module | None = None
    inputs: int = 0
    samples: int = 0
    batch: BatchInfo | None = None
    new_epoch: bool = False

    @property
    def may_be_evaluation(self) -> bool:
        """Return True if modules were called and nothing was trained so far."""
        return bool(self.uncertain) and not self.trained

    def begin(self) -> None:
        """Note that an event begins. The first one starts the step."""
        if self.start is None:
            self.start = time.perf_counter()


class AfterUpdate(Enum):
    """Meaning of an optimizer's step for the training step: it has ended, others follow, or it had ended before."""

    ENDED = "ended"
    WAITS = "waits"
    LATE = "late"


class OptimizerCycle:
    """Counts the optimizers' steps between two passes of the model. At first each one is taken for the last."""

    def __init__(self) -> None:
        self._seen, self._expected = 0, 1

    def updated(self) -> AfterUpdate:
        """Count the step of an optimizer."""
        self._seen += 1
        if self._seen > self._expected:
            self._expected = self._seen
            return AfterUpdate.LATE
        return AfterUpdate.ENDED if self._seen == self._expected else AfterUpdate.WAITS

    def over(self) -> bool:
        """End the cycle because something else begins. Return True if the training step still waited for optimizers."""
        if not self._seen:
            return False
        waited_for_more = self._seen < self._expected
        self._expected, self._seen = self._seen, 0
        return waited_for_more

    def restart(self) -> None:
        """Forget the steps seen: passes in a closure, as of L-BFGS, lie within the optimizer's step."""
        self._seen = 0
