"""Benchmark of planted faults: its cases, the measurements of each, and repairs."""

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
_REPAIRS = 2  # fixes that are tried, one after another
_MIN_HARM = 0.05  # of accuracy or of loss: below it there is nothing to regain
_WORST_LOSS = 100.0  # larger losses count as this, so that a median stays meaningful
_REGAINED = 0.9  # of the harm, from which on a run counts as repaired


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A case of a part. pair: network and data of the healthy setup that it is based on."""

    case: Case
    pair: Pair


@dataclass(frozen=True, kw_only=True)
class Result:
    """Measurements of a case.

    harm: cost of the fault, in accuracy or loss; None for a healthy run.  root_causes: rules that are severe or a
    warning at the end, the most important first.  interim: the same rules during the run, as (training steps, rules).
    regained: the share of the harm that the fixes undid, None where none were tried.  fixes: the fixes that were tried.
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
    root_causes: tuple[str, ...]
    interim: tuple[tuple[int, tuple[str, ...]], ...]
    harm: float | None = None
    regained: float | None = None
    fixes: tuple[Mapping[str, Any], ...] = ()

    @property
    def repaired(self) -> bool:
        """Return True if the fixes undid the harm."""
        return self.regained is not None and self.regained >= _REGAINED

    @property
    def diagnosis(self) -> FaultDiagnosis:
        """Verdicts of the rules on the run."""
        return FaultDiagnosis(root_causes=self.root_causes, fixes=(), interim=self.interim)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Result:
        """Return the result that `asdict` and JSON made, also one of an earlier version."""
        # Files of earlier versions call them "told" and "looks".
        values = {{"told": "root_causes", "looks": "interim"}.get(name, name): value for name, value in values.items()}
        interim = tuple((step, tuple(rules)) for step, rules in values["interim"])
        lists = {name: tuple(values[name]) for name in ("pair", "root_causes", "fixes")}
        return cls(**{**values, **lists, "interim": interim})


def cases(part: str, fault_seeds: int = FAULT_SEEDS, control_seeds: int = CONTROL_SEEDS) -> list[Planned]:
    """Return the runs of a part, healthy ones first, and of those first the ones that faults are compared with."""
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
    """Train a case's run, judge it, and try the fixes that the rules propose."""
    case, pair = planned.case, planned.pair
    broken = fault(case.fault) if case.fault else None
    score, diagnosis = record(case, work, shared, rules), diagnose(case, work, rules)
    measured: dict[str, Any] = {
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
        "root_causes": diagnosis.root_causes,
        "interim": diagnosis.interim,
    }
    if broken is None:
        return Result(**measured)
    control = Case(name="healthy-base", setup=base(pair, case.setup.seed))
    goal = target(broken, score, record(control, work, shared, rules))
    harm = quality(broken, goal) - quality(broken, score)
    if not broken.repairable or harm < _MIN_HARM:
        return Result(**measured, harm=harm)
    start = quality(broken, score)
    fixes, reached = _repair(broken, case, diagnosis, start + _REGAINED * harm, (work, shared, rules))
    return Result(**measured, harm=harm, fixes=fixes, regained=(reached - start) / harm if fixes else 0.0)


def _repair(
    broken: Fault, case: Case, diagnosis: FaultDiagnosis, goal: float, environment: tuple[Path, Path, Sequence[Rule]]
) -> tuple[tuple[Mapping[str, Any], ...], float]:
    """Try fixes, one after another, until the quality `goal` is reached.

    Returns the fixes and the quality of the last run.
    """
    work, shared, rules = environment
    tried: list[Mapping[str, Any]] = []
    reached = -math.inf
    while len(tried) < _REPAIRS and reached < goal and (fix := diagnosis.fix()):
        changed = repaired(case, fix)
        if changed is None:
            break
        case = changed
        tried.append(fix)
        reached = quality(broken, record(case, work, shared, rules))
        diagnosis = diagnose(case, work, rules, checks=1)
    return tuple(tried), reached


def target(broken: Fault, score: FaultScore, healthy: FaultScore) -> FaultScore:
    """Return the score that a repair should reach: the healthy one, or the own best epoch for a fault of the loss."""
    if broken.measure != "loss":
        return healthy
    best = min(range(len(score.losses)), key=lambda epoch: score.losses[epoch])
    return FaultScore(
        accuracy=score.accuracies[best], loss=score.losses[best], honest=math.nan, steps=score.steps, seconds=0.0
    )


def quality(broken: Fault, score: FaultScore) -> float:
    """Return how good a run is, by the fault's measure; more is better."""
    match broken.measure:
        case "accuracy":
            return score.accuracy
        case "loss":
            return -min(score.loss, _WORST_LOSS)
        case "honesty":
            return score.honest - score.accuracy
