"""StudyObserver: receives the events of a study while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from clearsight.core.study import Study, StudyStatus
from clearsight.core.trial import Trial


class StudyObserver(Protocol):
    """Told of everything that happens in a study, in order, on the thread that leads it."""

    def on_begin(self, study: Study, trials: Sequence[Trial]) -> None:
        """The study begins, or goes on: with these trials from before."""
        ...

    def on_trial(self, trial: Trial) -> None:
        """A trial was taken up by a worker."""
        ...

    def on_epoch(self, trial: Trial, epoch: int, value: float) -> None:
        """A trial has finished an epoch; value: of the first objective, NaN where the epoch has none."""
        ...

    def on_result(self, trial: Trial) -> None:
        """A trial came to an end: complete, pruned or failed."""
        ...

    def on_trouble(self, sentence: str) -> None:
        """Something went wrong that the study survives, such as a worker that died."""
        ...

    def on_end(self, status: StudyStatus, reason: str) -> None:
        """The last trial is over."""
        ...
