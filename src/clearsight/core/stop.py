"""StopReason: why a run, a trial or a study ended before it was through; `kind` is for programs, `text` for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class StopKind(StrEnum):
    """What ended it. Code decides by the kind, never by the wording of the text."""

    SIGNAL = "signal"  # Ctrl-C, SIGTERM, or a study that was told to stop
    TIME_LIMIT = "time_limit"
    PATIENCE = "patience"  # the monitored score no longer improved
    FINDING = "finding"  # an action asked for by a rule of the debugger
    DIVERGED = "diverged"  # the loss became NaN or infinite
    PRUNED = "pruned"  # the study's pruner gave the trial up
    AT_CHANCE = "at_chance"  # a third into its training the trial had learned nothing
    EPOCH_BUDGET = "epoch_budget"
    TARGET = "target"  # the objective reached its target
    NO_IMPROVEMENT = "no_improvement"  # too many trials in a row without a better one
    STUDY_ENDED = "study_ended"  # the study ended while the trial was under way
    FAILURE = "failure"  # an error ended it
    UNKNOWN = "unknown"  # written by a version that stored the text alone


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why it ended. text: one sentence without a full stop."""

    kind: StopKind
    text: str

    def to_json(self) -> dict[str, str]:
        """Return JSON values."""
        return {"kind": self.kind.value, "text": self.text}

    @classmethod
    def from_json(cls, value: dict[str, str] | str | None) -> StopReason | None:
        """Return the reason that `to_json` wrote; a bare text, as earlier versions stored it, has the kind UNKNOWN."""
        if not value:
            return None
        if isinstance(value, str):
            return cls(StopKind.UNKNOWN, value)
        known = {kind.value for kind in StopKind}
        kind = value.get("kind", "")
        return cls(StopKind(kind) if kind in known else StopKind.UNKNOWN, value.get("text", ""))
