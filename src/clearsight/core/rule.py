"""Rule: a pure function of what was saved of a run, with its parameters and needs declared."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.finding import Finding, Points, Series, Severity, Verdict
from clearsight.core.settings import aliases, bad_value
from clearsight.core.tensors import Mode
from clearsight.core.view import RunView

Counted = Literal["steps", "snapshots", "predictions", "evaluations", "samples", "timed_steps"]

# Rules written against earlier versions use these words; they stay valid.
_EARLIER_WORDS: dict[str, Counted] = {
    "outcomes": "predictions",
    "rounds": "evaluations",
    "looks": "samples",
    "timed": "timed_steps",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """Data that must be saved before a rule can judge a run.

    points: how many, of `counted`: "steps" (scalars of every step), "snapshots" (saved statistics of `collections`),
    "predictions" (classified images), "evaluations" (validation scores beside training), "samples" (readings of the
    profiler's gauges) or "timed_steps" (training steps whose phases were timed).
    """

    counted: Counted = "steps"
    points: int = 1
    collections: tuple[str, ...] = ()
    mode: Mode = "train"

    def __post_init__(self) -> None:
        object.__setattr__(self, "counted", _EARLIER_WORDS.get(self.counted, self.counted))  # frozen, so set this way


class Rule(BaseModel):
    """Base of all rules. A subclass declares its parameters as fields and implements `needs` and `check`.

    The docstring says when the rule fires, why this way, and where it differs from known rules. Rules keep no state,
    log nothing and never read a clock: the same view gives the same findings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)

    severity: ClassVar[Severity] = Severity.WARNING
    explains: ClassVar[tuple[str, ...]] = ()  # rules whose findings are consequences of this one's
    also: ClassVar[tuple[str, ...]] = ()  # other names of the rule
    unused: ClassVar[tuple[str, ...]] = ()  # SageMaker parameters that are accepted without effect
    topic: ClassVar[Literal["learning", "speed"]] = "learning"  # the rule judges what is learned, or how fast
    optional: ClassVar[bool] = False  # not in the default set: it needs a parameter or data of its own

    @property
    def name(self) -> str:
        return type(self).__name__

    @abstractmethod
    def needs(self) -> Needs:
        """Return the data that must have been saved."""

    @abstractmethod
    def check(self, view: RunView) -> Iterable[Finding]:
        """Yield the findings on a run, at least one; several where several tensors are affected, the worst first."""

    def with_verdicts(self, finding: Finding, verdicts: Mapping[str, Verdict]) -> Finding:
        """Return a finding of this rule completed by the verdicts of all rules on the run, by their names."""
        return finding

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Rule:
        """Return the rule with parameters by name or by alias, such as SageMaker's names; values may be text ("0.2").

        Raises BadChoice for an unknown parameter, BadValue for one outside its range.
        """
        homes = {name: name for name in cls.model_fields}
        for name, info in cls.model_fields.items():
            homes |= dict.fromkeys(aliases(info), name)
        parsed: dict[str, Any] = {}
        for key, value in values.items():
            if key in cls.unused:  # SageMaker's examples stay valid, too
                continue
            if key not in homes:
                raise BadChoice(f"{cls.__name__}({key})", "there is no such parameter", got=key, allowed=homes)
            if homes[key] in parsed:
                raise BadValue(f"{cls.__name__}({key})", f"{homes[key]} is given twice", fix="Keep one of them.")
            parsed[homes[key]] = value
        try:
            return cls.model_validate(parsed)
        except ValidationError as error:
            first = error.errors()[0]
            subject = f"{cls.__name__}({first['loc'][0]}={first['input']})"
            raise bad_value(error, subject, cls.model_fields[str(first["loc"][0])]) from None

    def found(
        self,
        *,
        value: float,
        threshold: float,
        steps: tuple[int, int],
        cause: str,
        confidence: float = 0.9,
        **more: Any,
    ) -> Finding:
        """Return a finding. more: severity, unit, epoch, subject, fix, advice, because, evidence (Series)."""
        # numpy numbers become Python's below: JSON has no float32.
        evidence = more.pop("evidence", ())
        return Finding(
            rule=self.name,
            verdict=Verdict.FOUND,
            severity=more.pop("severity", self.severity),
            value=float(value),
            threshold=float(threshold),
            steps=(int(steps[0]), int(steps[1])),
            cause=cause,
            confidence=float(min(1.0, max(0.0, confidence))),
            evidence=(evidence,) if isinstance(evidence, Series) else tuple(evidence),
            **more,
        )

    def clear(self, *, value: float | None = None, threshold: float | None = None, **more: Any) -> Finding:
        """Return the verdict that the data were enough and nothing was found."""
        return Finding(
            rule=self.name,
            verdict=Verdict.CLEAR,
            severity=Severity.INFO,
            value=None if value is None else float(value),
            threshold=None if threshold is None else float(threshold),
            **more,
        )

    def not_enough_data(self, *, have: int, want: int | None = None, of: str = "", cause: str = "") -> Finding:
        """Return the verdict that there are too few data. want: default as in `needs`; of: what is counted."""
        needed = self.needs()
        points = Points(int(have), needed.points if want is None else int(want), of or _WORDS[needed.counted])
        cause = cause or f"{points.have} of the {points.want} {points.of} that it needs"
        lacking = Verdict.NOT_ENOUGH_DATA
        return Finding(rule=self.name, verdict=lacking, severity=Severity.INFO, points=points, cause=cause)

    def parameters(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


_WORDS: dict[Counted, str] = {
    "steps": "training steps",
    "snapshots": "saved statistics",
    "predictions": "predictions",
    "evaluations": "evaluations",
    "samples": "profiler samples",
    "timed_steps": "timed steps",
}
