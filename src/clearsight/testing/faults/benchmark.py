"""Benchmark of planted faults: runs that the debugger watched, kept on disk, their diagnosis, and repairs."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from clearsight.core.errors import ClearsightError
from clearsight.core.files import read_json, write_json
from clearsight.core.finding import Finding, Severity
from clearsight.core.judge import judge, root_findings
from clearsight.core.rule import Rule
from clearsight.debugger.hook import Hook
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.faults.catalogue import FAULTS, HALF, PARTS, Pair, base, controls, fault
from clearsight.testing.faults.images import load_images
from clearsight.testing.faults.loop import FaultBatches, train
from clearsight.testing.faults.networks import PRETRAINED
from clearsight.testing.faults.setup import HONOURED, Fault, FaultScore, FaultSetup

FAULT_SEEDS, CONTROL_SEEDS = 2, 5
_REPAIRS = 2  # fixes that are tried, one after another
_MIN_HARM = 0.05  # of accuracy or of loss: below it there is nothing to regain
_WORST_LOSS = 100.0  # larger losses count as this, so that a median stays meaningful
_REGAINED = 0.9  # of the harm, from which on a run counts as repaired
# A run of other code is another run, so the code of faults is part of a run's key.
_CODE = "".join(
    hashlib.sha256(Path(__file__).with_name(f"{name}.py").read_bytes()).hexdigest()
    for name in ("loop", "networks", "images")
)
_CHECKS = 10  # times that a run is judged while it goes on, evenly over its steps


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run to train."""

    name: str  # for people
    pair: Pair  # network and data of the healthy setup that it is based on
    setup: FaultSetup
    fault: str = ""  # name of the planted fault, "" in a healthy run

    @property
    def key(self) -> str:
        """Folder name of the run, different for every setup."""
        setup = self.setup
        settings = json.dumps(
            [setup.recipe.flat(), setup.side, setup.train_size, setup.valid_size, setup.plant], default=str
        )
        digest = hashlib.sha256((_CODE + settings).encode()).hexdigest()[:8]
        return "-".join((self.name, setup.network, setup.data, str(setup.seed), digest))


@dataclass(frozen=True, kw_only=True)
class FaultDiagnosis:
    """Verdicts of the rules on a run."""

    root_causes: tuple[str, ...]  # rules that are severe or a warning, the most important first
    fixes: tuple[Mapping[str, Any], ...]  # one for each root cause
    interim: tuple[tuple[int, tuple[str, ...]], ...] = ()  # (training steps, root causes so far)

    def named(self, rules: Sequence[str], top: int = 2) -> bool:
        """Return True if one of the rules is among the first."""
        return any(rule in rules for rule in self.root_causes[:top])

    def step(self, rules: Sequence[str]) -> int | None:
        """Return the training steps after which one of the rules was among the first two; None if never."""
        return next((step for step, found in self.interim if any(rule in rules for rule in found[:2])), None)

    def fix(self) -> dict[str, Any]:
        """Return the first fix, only its settings that the plain loop obeys; {} for none."""
        usable = ({k: v for k, v in fix.items() if k in HONOURED} for fix in self.fixes)
        return next((fix for fix in usable if fix), {})


@dataclass(frozen=True, kw_only=True)
class Result:
    """Measurements of a case. root_causes, interim: as in FaultDiagnosis."""

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
    harm: float | None = None  # cost of the fault, in accuracy or loss; None for a healthy run
    regained: float | None = None  # share of the harm that the fixes undid, None where none were tried
    fixes: tuple[Mapping[str, Any], ...] = ()  # that were tried

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


def cases(part: str, fault_seeds: int = FAULT_SEEDS, control_seeds: int = CONTROL_SEEDS) -> list[Case]:
    """Return the runs of a part, healthy ones first, and of those first the ones that faults are compared with."""
    healthy = [
        Case(name=f"healthy-{variation}", pair=pair, setup=setup)
        for seed in range(control_seeds)
        for pair in PARTS[part]
        for variation, setup in controls(pair, seed).items()
    ]
    healthy.sort(key=lambda case: case.name != "healthy-base")
    faulty = [
        Case(name=broken.name, pair=pair, setup=broken.apply(base(pair, seed)), fault=broken.name)
        for broken in FAULTS
        for seed in range(fault_seeds)
        for pair in PARTS[part]
        if broken.fits(base(pair, seed))
    ]
    return [*healthy, *faulty]


def examine(case: Case, work: Path, shared: Path, rules: Sequence[Rule]) -> Result:
    """Train a case's run, judge it, and try the fixes that the rules propose."""
    broken = fault(case.fault) if case.fault else None
    score, diagnosis = record(case, work, shared, rules), diagnose(case, work, rules)
    result = Result(
        key=case.key,
        name=case.name,
        pair=case.pair,
        seed=case.setup.seed,
        faulty=broken is not None,
        root_causes=diagnosis.root_causes,
        interim=diagnosis.interim,
        **{name: getattr(score, name) for name in ("accuracy", "loss", "honest", "steps", "seconds")},
    )
    if broken is None:
        return result
    control = Case(name="healthy-base", pair=case.pair, setup=base(case.pair, case.setup.seed))
    goal = target(broken, score, record(control, work, shared, rules))
    harm = quality(broken, goal) - quality(broken, score)
    if not broken.repairable or harm < _MIN_HARM:
        return replace(result, harm=harm)
    start = quality(broken, score)
    fixes, reached = _repair(broken, case, diagnosis, start + _REGAINED * harm, (work, shared, rules))
    return replace(result, harm=harm, fixes=fixes, regained=(reached - start) / harm if fixes else 0.0)


def _repair(
    broken: Fault, case: Case, diagnosis: FaultDiagnosis, goal: float, environment: tuple[Path, Path, Sequence[Rule]]
) -> tuple[tuple[Mapping[str, Any], ...], float]:
    """Try fixes until the quality `goal` is reached; return them and the quality of the last run."""
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
    return replace(score, accuracy=score.accuracies[best], loss=score.losses[best], honest=math.nan)


def quality(broken: Fault, score: FaultScore) -> float:
    """Return how good a run is, by the fault's measure; more is better."""
    match broken.measure:
        case "accuracy":
            return score.accuracy
        case "loss":
            return -min(score.loss, _WORST_LOSS)
        case "honesty":
            return score.honest - score.accuracy


def record(case: Case, work: Path, shared: Path, rules: Sequence[Rule]) -> FaultScore:
    """Train a case's run in `work`, or read its score where it exists already."""
    folder = work / "runs" / case.key
    if not (folder / "score.json").is_file():
        temporary = work / "making" / f"{case.key}-{os.getpid()}"
        shutil.rmtree(temporary, ignore_errors=True)
        score = recorded_run(case.setup, temporary, shared, rules)
        write_json(temporary / "score.json", asdict(score))
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.rename(folder)
        except OSError:  # another process has trained the same run: one of the two is kept
            shutil.rmtree(temporary)
    return FaultScore.from_json(read_json(folder / "score.json"))


def recorded_run(setup: FaultSetup, folder: Path, shared: Path, rules: Sequence[Rule]) -> FaultScore:
    """Train a run with the public hook attached, as people attach it to their own loops."""
    data = load_images(setup, shared)
    epochs = setup.recipe.train.resolved_epochs
    pretrained = setup.network in PRETRAINED and setup.recipe.model.weights != "none"
    hook = Hook(
        folder,
        rules=list(rules),
        steps=epochs * len(FaultBatches(setup, data.train)),
        epochs=epochs,
        classes=[str(label) for label in range(data.classes)],
        batch_size=setup.recipe.train.batch_size,
        mean=HALF if pretrained else (),
        std=HALF if pretrained else (),
        pretrained=pretrained,
        quiet=True,
    )
    with hook:
        score = train(setup, shared, hook)
    if hook.failure is not None:
        raise hook.failure
    return score


def diagnose(case: Case, work: Path, rules: Sequence[Rule], checks: int = _CHECKS) -> FaultDiagnosis:
    """Judge a recorded run at its end, and `checks` times while it went on."""
    tape = SavedRun(work / "runs" / case.key).tape()
    findings = serious_root_causes(tape, rules)
    steps = np.unique(np.linspace(0, tape.done(), checks + 1).astype(int)[1:])
    interim = [(int(step), serious_root_causes(tape.until(int(step)), rules)) for step in steps]
    return FaultDiagnosis(
        root_causes=tuple(finding.rule for finding in findings),
        fixes=tuple(finding.fix for finding in findings),
        interim=tuple((step, tuple(finding.rule for finding in found)) for step, found in interim),
    )


def serious_root_causes(tape: Tape, rules: Sequence[Rule]) -> list[Finding]:
    """Return the root causes that are severe or a warning."""
    return [finding for finding in root_findings(judge(rules, tape)) if finding.severity is not Severity.INFO]


def repaired(case: Case, fix: Mapping[str, Any]) -> Case | None:
    """Return the case with a fix, None where the fix changes nothing or is invalid."""
    try:
        setup = case.setup.changed(**fix)
    except ClearsightError:
        return None
    return None if setup == case.setup else replace(case, setup=setup)
