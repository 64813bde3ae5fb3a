"""Rule: a pure function of what was saved of a run, with its parameters and needs declared beside it."""

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

Counted = Literal["steps", "snapshots", "outcomes", "rounds", "looks", "timed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What must be saved so that a rule can speak.

    points: how many, of `counted`: "steps" (scalars of every step), "snapshots" (saved statistics of `collections`),
    "outcomes" (answered images), "rounds" (evaluations beside training), "looks" (of the profiler at the machine) or
    "timed" (training steps whose phases were timed).
    """

    counted: Counted = "steps"
    points: int = 1
    collections: tuple[str, ...] = ()
    mode: Mode = "train"


class Rule(BaseModel):
    """Base of all rules. A subclass declares its knobs as fields and implements `needs` and `check`.

    The docstring says when it speaks, why so, and where it differs from what people know. Rules keep no state, log
    nothing and never look at the clock: the same view gives the same findings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)

    severity: ClassVar[Severity] = Severity.WARNING
    explains: ClassVar[tuple[str, ...]] = ()  # rules whose finding is a consequence where this one found something
    also: ClassVar[tuple[str, ...]] = ()  # other names it goes by
    unused: ClassVar[tuple[str, ...]] = ()  # SageMaker parameters that have no meaning here and are accepted in silence
    topic: ClassVar[Literal["learning", "speed"]] = "learning"  # what is at stake: what is learned, or how fast
    optional: ClassVar[bool] = False  # left out of the default set: it needs a parameter or data of its own

    @property
    def name(self) -> str:
        """The rule's name, that of its class."""
        return type(self).__name__

    @abstractmethod
    def needs(self) -> Needs:
        """What must have been saved."""

    @abstractmethod
    def check(self, view: RunView) -> Iterable[Finding]:
        """The findings on a run, at least one; several where several tensors are concerned, the worst first."""

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Rule:
        """The rule with parameters by name, by SageMaker's name too; values may be words ("0.2").

        Raises BadChoice for an unknown parameter, BadValue for one outside its range.
        """
        homes = {name: name for name in cls.model_fields}
        for name, info in cls.model_fields.items():
            homes |= dict.fromkeys(aliases(info), name)
        given: dict[str, Any] = {}
        for key, value in values.items():
            if key in cls.unused:
                continue
            if key not in homes:
                raise BadChoice(f"{cls.__name__}({key})", "there is no such parameter", got=key, allowed=homes)
            if homes[key] in given:
                raise BadValue(f"{cls.__name__}({key})", f"{homes[key]} is said twice", fix="Keep one of them.")
            given[homes[key]] = value
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            what = f"{cls.__name__}({first['loc'][0]}={first['input']})"
            raise bad_value(error, what, first["input"]) from None

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
        """A finding that says so. more: severity, unit, epoch, subject, fix, advice, evidence (a Series or several)."""
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
        """A finding that the rule looked and there is nothing."""
        return Finding(
            rule=self.name,
            verdict=Verdict.CLEAR,
            severity=Severity.INFO,
            value=None if value is None else float(value),
            threshold=None if threshold is None else float(threshold),
            **more,
        )

    def not_enough_data(self, *, have: int, want: int | None = None, of: str = "", cause: str = "") -> Finding:
        """A finding that there is too little to judge. want: what `needs` says where left out."""
        needed = self.needs()
        points = Points(int(have), needed.points if want is None else int(want), of or _WORDS[needed.counted])
        return Finding(
            rule=self.name,
            verdict=Verdict.NOT_ENOUGH_DATA,
            severity=Severity.INFO,
            points=points,
            cause=cause or f"{points.have} {points.of} of the {points.want} that it needs",
        )

    def parameters(self) -> dict[str, Any]:
        """Parameter names and values."""
        return self.model_dump(mode="json")


_WORDS: dict[Counted, str] = {
    "steps": "training steps",
    "snapshots": "saved statistics",
    "outcomes": "answered images",
    "rounds": "evaluations",
    "looks": "looks at the machine",
    "timed": "timed steps",
}
