"""StopReason: why a run, a trial or a study ended before it was through; `kind` is for programs, `text` for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class StopKind(StrEnum):
    """Kind of an end. Code decides by it, never by the wording of the text."""

    SIGNAL = "signal"  # Ctrl-C, SIGTERM, or a study that was told to stop
    TIME_LIMIT = "time_limit"  # of the run or of the study
    PATIENCE = "patience"  # the monitored score no longer improved
    FINDING = "finding"  # an action asked for by a rule of the debugger
    DIVERGED = "diverged"  # the loss became NaN or infinite
    PRUNED = "pruned"  # the study's pruner gave the trial up
    AT_CHANCE = "at_chance"  # a third into its training the trial had learned nothing
    EPOCH_BUDGET = "epoch_budget"  # the trials of the study used all epochs that it may train
    TARGET = "target"  # the objective reached its target
    NO_IMPROVEMENT = "no_improvement"  # too many trials in a row without a better one
    STUDY_ENDED = "study_ended"  # the study ended while the trial was under way
    FAILURE = "failure"  # an error ended it
    ALL_FAILED = "all_failed"  # every trial so far failed for the same reason
    UNKNOWN = "unknown"  # a kind that a later version wrote


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why it ended. text: one sentence without a full stop."""

    kind: StopKind
    text: str


def stop_kind(value: object) -> StopKind | None:
    """Return the kind that a JSON file names: None for none, UNKNOWN for a word of a later version."""
    if not value:
        return None
    if not isinstance(value, str):
        return StopKind.UNKNOWN
    return StopKind(value) if value in {kind.value for kind in StopKind} else StopKind.UNKNOWN
