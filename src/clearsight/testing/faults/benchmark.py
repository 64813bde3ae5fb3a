"""The benchmark over the zoo: which cases, what is measured of each, and the table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.rule import Rule
from clearsight.testing.faults.catalogue import FAULTS, fault
from clearsight.testing.faults.healthy import PARTS, Pair, base, controls
from clearsight.testing.faults.setup import Fault, FaultScore
from clearsight.testing.faults.trials import Case, FaultDiagnosis, diagnose, record, repaired

FAULT_SEEDS, CONTROL_SEEDS = 2, 5
_REPAIRS = 2
_HARM = 0.05  # of accuracy or of loss, below that there is nothing to regain
_WORST_LOSS = 100.0
_REGAINED = 0.9  # of what was lost


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A case of a part. pair: network and data of the healthy setup that it was made of."""

    case: Case
    pair: Pair


@dataclass(frozen=True, kw_only=True)
class Result:
    """A case in figures.

    harm: what the fault costs, of accuracy or of loss; None for a healthy run.  regained: the share of it that the
    fixes brought back, None where none were tried.  fixes: those.
    """

    key: str
    name: str
    pair: tuple[str, str]
    seed: int
    faulty: bool
    accuracy: float
    loss: float
    honest: float
    steps: int
    seconds: float
    told: tuple[str, ...]
    looks: tuple[tuple[int, tuple[str, ...]], ...]
    harm: float | None = None
    regained: float | None = None
    fixes: tuple[Mapping[str, Any], ...] = ()

    @property
    def repaired(self) -> bool:
        """Whether the fixes undid the harm."""
        return self.regained is not None and self.regained >= _REGAINED

    @property
    def diagnosis(self) -> FaultDiagnosis:
        """What the rules said."""
        return FaultDiagnosis(told=self.told, fixes=(), looks=self.looks)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Result:
        """Out of what JSON made of `asdict`."""
        looks = tuple((step, tuple(told)) for step, told in values["looks"])
        lists = {name: tuple(values[name]) for name in ("pair", "told", "fixes")}
        return cls(**{**values, **lists, "looks": looks})


def cases(part: str, fault_seeds: int = FAULT_SEEDS, control_seeds: int = CONTROL_SEEDS) -> list[Planned]:
    """The runs of a part: the healthy ones first, and of them those that faults are compared with."""
    healthy = [
        Planned(case=Case(name=f"healthy-{variation}", setup=setup), pair=pair)
        for seed in range(control_seeds)
        for pair in PARTS[part]
        for variation, setup in controls(pair, seed).items()
    ]
    healthy.sort(key=lambda planned: planned.case.name != "healthy-base")
    faulty = [
        Planned(case=Case(name=broken.name, setup=broken.apply(base(pair, seed)), fault=broken.name), pair=pair)
        for broken in FAULTS
        for seed in range(fault_seeds)
        for pair in PARTS[part]
        if broken.fits(base(pair, seed))
    ]
    return [*healthy, *faulty]


def examine(planned: Planned, work: Path, shared: Path, rules: Sequence[Rule]) -> Result:
    """Make a case's run, judge it, and try what the rules propose."""
    case, pair = planned.case, planned.pair
    broken = fault(case.fault) if case.fault else None
    score, diagnosis = record(case, work, shared, rules), diagnose(case, work, rules)
    known: dict[str, Any] = {
        "key": case.key,
        "name": case.name,
        "pair": pair,
        "seed": case.setup.seed,
        "faulty": broken is not None,
        "accuracy": score.accuracy,
        "loss": score.loss,
        "honest": score.honest,
        "steps": score.steps,
        "seconds": score.seconds,
        "told": diagnosis.told,
        "looks": diagnosis.looks,
    }
    if broken is None:
        return Result(**known)
    control = Case(name="healthy-base", setup=base(pair, case.setup.seed))
    goal = target(broken, score, record(control, work, shared, rules))
    harm = worth(broken, goal) - worth(broken, score)
    if not broken.repairable or harm < _HARM:
        return Result(**known, harm=harm)
    start = worth(broken, score)
    fixes, reached = _repair(broken, case, diagnosis, start + _REGAINED * harm, (work, shared, rules))
    return Result(**known, harm=harm, fixes=fixes, regained=(reached - start) / harm if fixes else 0.0)


def _repair(
    broken: Fault, case: Case, told: FaultDiagnosis, goal: float, where: tuple[Path, Path, Sequence[Rule]]
) -> tuple[tuple[Mapping[str, Any], ...], float]:
    """Try fixes, one after another, until the worth `goal` is reached: those tried, and what the last run is worth."""
    work, shared, rules = where
    tried: list[Mapping[str, Any]] = []
    reached = -math.inf
    while len(tried) < _REPAIRS and reached < goal and (fix := told.fix()):
        again = repaired(case, fix)
        if again is None:
            break
        case = again
        tried.append(fix)
        reached = worth(broken, record(case, work, shared, rules))
        told = diagnose(case, work, rules, looks=1)
    return tuple(tried), reached


def target(broken: Fault, score: FaultScore, healthy: FaultScore) -> FaultScore:
    """What a repair should reach: the healthy run; for a fault of the loss the best epoch of the run itself."""
    if broken.measure != "loss":
        return healthy
    best = min(range(len(score.losses)), key=lambda epoch: score.losses[epoch])
    return FaultScore(
        accuracy=score.accuracies[best],
        loss=score.losses[best],
        honest=math.nan,
        steps=score.steps,
        seconds=0.0,
    )


def worth(broken: Fault, score: FaultScore) -> float:
    """How good a run is, more is better."""
    match broken.measure:
        case "accuracy":
            return score.accuracy
        case "loss":
            return -min(score.loss, _WORST_LOSS)
        case "honesty":
            return score.honest - score.accuracy
