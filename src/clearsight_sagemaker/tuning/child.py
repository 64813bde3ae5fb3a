"""TuningChild: a training job that a tuning job has planned, and how it ended; the row of the tuning job has all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ChildEnd:
    """End of a training job. status: Completed, Failed or Stopped.  value: of the objective, None without one.

    started, ended: seconds since 1970, None where it never started.  reason: why it failed.
    """

    status: str
    value: float | None = None
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    reason: str = ""

    @property
    def has_objective(self) -> bool:
        """True where the value counts: a job that was stopped early has one, a failed job has none."""
        return self.value is not None and self.status != "Failed"


@dataclass(frozen=True, kw_only=True)
class TuningChild:
    """A training job of a tuning job. number: from 1.  definition: its name, "" for the only one.  tuned: texts.

    is_created: a training job of the name was created.  stop_reason: why the tuning job stopped it, a sentence.
    end: None while it waits or runs.
    """

    number: int
    name: str
    definition: str
    tuned: Mapping[str, str] = field(default_factory=dict)
    is_created: bool = False
    stop_reason: str = ""
    end: ChildEnd | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> TuningChild:
        """Return the training job that `to_json` wrote."""
        end = values["end"]
        return cls(**{**values, "end": None if end is None else ChildEnd(**end)})

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @property
    def has_objective(self) -> bool:
        """True where it has ended with a value that counts."""
        return self.end is not None and self.end.has_objective

    @property
    def objective_status(self) -> str:
        """Succeeded, Pending or Failed."""
        if self.end is None:
            return "Pending"
        return "Succeeded" if self.end.has_objective else "Failed"


def child_name(tuning_job: str, created: float, number: int) -> str:
    """Return the name of training job `number`, which a later tuning job of the same name has not.

    created: seconds since 1970, of the tuning job.
    """
    digest = hashlib.sha256(f"{tuning_job}/{created!r}/{number}".encode()).hexdigest()[:8]
    return f"{tuning_job}-{number:03d}-{digest}"
