"""Cycle: how many optimizers step one after the other before a training step has ended, learnt as it goes."""

from __future__ import annotations

from enum import Enum


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
