"""TrialQueue: the trials of a study from their proposal to their result, and the assignments that they travel in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
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
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[TrialTask, ...]] = deque()  # in the order of proposal
        self._running: dict[int, Assignment] = {}
        self._prepared: dict[int, PreparedTrial] = {}
        self._attempts: dict[int, int] = {}
        self._originals: dict[str, int] = {}  # digest -> first trial with it
        self._duplicates: dict[int, list[int]] = {}  # original -> trials that wait for its result
        self._last_key = 0

    @property
    def running(self) -> int:
        """Number of assignments that run."""
        return len(self._running)

    @property
    def waiting(self) -> bool:
        """Return True if a group of tasks waits for a worker."""
        return bool(self._waiting)

    def remember(self, number: int, prepared: PreparedTrial) -> None:
        """Make a trial that has ended the original of later trials with its digest."""
        self._originals.setdefault(prepared.digest, number)

    def register(self, number: int, prepared: PreparedTrial, attempts: int) -> int:
        """Register a trial that is to run; returns its original, which is the trial itself if its digest is new."""
        self._prepared[number], self._attempts[number] = prepared, attempts
        # The first trial with a digest stays the original, so that results do not depend on which worker is faster.
        return self._originals.setdefault(prepared.digest, number)

    def wait_for(self, original: int, number: int) -> None:
        """Let a duplicate wait for the result of its original."""
        self._duplicates.setdefault(original, []).append(number)

    def duplicates(self, original: int) -> list[int]:
        """Remove and return the trials that wait for the result of `original`."""
        return self._duplicates.pop(original, [])

    def extend(self, groups: Iterable[tuple[TrialTask, ...]]) -> None:
        """Put groups of tasks, each for one worker, at the end of the queue."""
        self._waiting.extend(groups)

    def put_back(self, group: tuple[TrialTask, ...]) -> None:
        """Put a group of tasks at the front of the queue: it was proposed before everything that waits."""
        self._waiting.appendleft(group)

    def clear(self) -> None:
        """Remove everything that waits for a worker."""
        self._waiting.clear()

    def start_next(self, data: str, metrics: tuple[str, ...], *, prunable: bool) -> Assignment:
        """Take the first group from the queue and return its assignment, which runs from now on."""
        assignment = Assignment(
            key=self.new_key(), tasks=self._waiting.popleft(), data=data, metrics=metrics, prunable=prunable
        )
        self._running[assignment.key] = assignment
        return assignment

    def new_key(self) -> int:
        """Return a key that no assignment of this process has had."""
        self._last_key += 1
        return self._last_key

    def assignment(self, key: int) -> Assignment:
        """Return a running assignment."""
        return self._running[key]

    def end(self, key: int) -> Assignment:
        """Remove and return an assignment that has ended or was lost."""
        return self._running.pop(key)

    def epochs(self, number: int) -> int:
        """Return the planned epochs of a registered trial."""
        return self._prepared[number].epochs

    def registered(self, number: int) -> bool:
        """Return True for a trial of this process, also if it has ended."""
        return number in self._prepared

    def attempts(self, number: int) -> int:
        """Return the attempts at a trial so far, the running one included; 1 for a trial that never ran."""
        return self._attempts.get(number, 1)

    def next_attempt(self, number: int) -> int:
        """Count another attempt at a trial; returns its number."""
        self._attempts[number] += 1
        return self._attempts[number]
