"""TrialQueue: the trials of a study from their proposal to their result, and the assignments that they travel in."""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from dataclasses import dataclass

from clearsight.core.executor import Assignment, TrialTask


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedTrial:
    """A trial that is ready to run: its task, and the epochs that it plans.

    digest: of everything that decides the result; trials with equal digests have equal results.
    """

    task: TrialTask
    epochs: int
    digest: str


class TrialQueue:
    """Tasks that wait for a worker, assignments that run, and duplicates that wait for the result of another trial.

    A duplicate has the digest of an earlier trial, its original, and never runs itself.

    waiting: groups of tasks, each for one worker, the next one first.  running: assignments by their keys.
    prepared: the trials of this process, also those that have ended.  attempts: at each trial, the running one
    included.  originals: the first trial with each digest.  duplicates: the trials that wait for each original.
    """

    def __init__(self) -> None:
        self.waiting: deque[tuple[TrialTask, ...]] = deque()
        self.running: dict[int, Assignment] = {}
        self.prepared: dict[int, PreparedTrial] = {}
        self.attempts: defaultdict[int, int] = defaultdict(lambda: 1)
        self.originals: dict[str, int] = {}
        self.duplicates: defaultdict[int, list[int]] = defaultdict(list)
        self._keys = itertools.count(1)

    def register(self, number: int, prepared: PreparedTrial, attempts: int) -> int:
        """Register a trial that is to run; returns its original, which is the trial itself if its digest is new."""
        self.prepared[number], self.attempts[number] = prepared, attempts
        # The first trial with a digest stays the original, so that results do not depend on which worker is faster.
        return self.originals.setdefault(prepared.digest, number)

    def start_next(self, data: str, metrics: tuple[str, ...], *, prunable: bool) -> Assignment:
        """Take the first group from the queue and return its assignment, which runs from now on."""
        assignment = Assignment(
            key=self.new_key(), tasks=self.waiting.popleft(), data=data, metrics=metrics, prunable=prunable
        )
        self.running[assignment.key] = assignment
        return assignment

    def new_key(self) -> int:
        """Return a key that no assignment of this process has had."""
        return next(self._keys)
