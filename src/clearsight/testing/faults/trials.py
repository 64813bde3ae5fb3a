"""Trials: runs of the zoo under the debugger's eye, kept on disk, and judged as often as the rules change."""

from __future__ import annotations

import hashlib
import json
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
from clearsight.testing.faults.batches import FaultBatches
from clearsight.testing.faults.images import load_images
from clearsight.testing.faults.loop import train
from clearsight.testing.faults.networks import PRETRAINED
from clearsight.testing.faults.setup import HONOURED, FaultScore, FaultSetup

_HALF = (0.5, 0.5, 0.5)  # what the weights of mobilenetv2 expect
# A record made by other code is another run: what is planted there is part of a run's key.
_CODE = "".join(
    hashlib.sha256(Path(__file__).with_name(f"{name}.py").read_bytes()).hexdigest()
    for name in ("batches", "loop", "networks", "images")
)
_LOOKS = 10  # times that a run is judged while it goes on, evenly over its steps


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run to be made. name: for people.  fault: the name of what is planted, "" in a healthy one."""

    name: str
    setup: FaultSetup
    fault: str = ""

    @property
    def key(self) -> str:
        """A name for the folder, different wherever the setup is."""
        setup = self.setup
        told = json.dumps(
            [setup.recipe.flat(), setup.side, setup.train_size, setup.valid_size, setup.plant], default=str
        )
        mark = hashlib.sha256((_CODE + told).encode()).hexdigest()[:8]
        return "-".join((self.name, setup.network, setup.data, str(setup.seed), mark))


@dataclass(frozen=True, kw_only=True)
class FaultDiagnosis:
    """What the rules say of a run.

    told: root causes that are severe or a warning, the first read first.  fixes: of each, aligned.  looks: the same
    rule names while the run went on, after so many training steps.
    """

    told: tuple[str, ...]
    fixes: tuple[Mapping[str, Any], ...]
    looks: tuple[tuple[int, tuple[str, ...]], ...] = ()

    def named(self, rules: Sequence[str], top: int = 2) -> bool:
        """Whether one of the rules is among the first."""
        return any(rule in rules for rule in self.told[:top])

    def step(self, rules: Sequence[str]) -> int | None:
        """Training steps done when one of the rules was first among the first two, of the looks that were taken."""
        return next((step for step, told in self.looks if any(rule in rules for rule in told[:2])), None)

    def fix(self) -> dict[str, Any]:
        """The first fix that there is, only of settings that the zoo's loop knows; {} for none."""
        known = ({k: v for k, v in fix.items() if k in HONOURED} for fix in self.fixes)
        return next((fix for fix in known if fix), {})


def record(case: Case, work: Path, shared: Path, rules: Sequence[Rule]) -> FaultScore:
    """Make a case's run in `work`, or read how it went where it is there already.

    Another process may make the same run: one of the two is kept.
    """
    folder = work / "runs" / case.key
    if not (folder / "score.json").is_file():
        fresh = work / "making" / f"{case.key}-{os.getpid()}"
        shutil.rmtree(fresh, ignore_errors=True)
        score = watched(case.setup, fresh, shared, rules)
        write_json(fresh / "score.json", asdict(score))
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            fresh.rename(folder)
        except OSError:
            shutil.rmtree(fresh)
    return FaultScore.from_json(read_json(folder / "score.json"))


def watched(setup: FaultSetup, folder: Path, shared: Path, rules: Sequence[Rule]) -> FaultScore:
    """A run with the public hook attached, as somebody with a loop of their own would attach it."""
    data = load_images(setup, shared)
    epochs = setup.recipe.train.passes
    pretrained = setup.network in PRETRAINED and setup.recipe.model.weights != "none"
    hook = Hook(
        folder,
        rules=list(rules),
        steps=epochs * len(FaultBatches(setup, data.train)),
        epochs=epochs,
        classes=[str(label) for label in range(data.classes)],
        batch_size=setup.recipe.train.batch_size,
        mean=_HALF if pretrained else (),
        std=_HALF if pretrained else (),
        pretrained=pretrained,
        quiet=True,
    )
    with hook:
        score = train(setup, shared, hook)
    if hook.failure is not None:
        raise hook.failure
    return score


def diagnose(case: Case, work: Path, rules: Sequence[Rule], looks: int = _LOOKS) -> FaultDiagnosis:
    """Judge a recorded run, at its end and while it went on."""
    tape = SavedRun(work / "runs" / case.key).tape()
    findings = pressing(tape, rules)
    steps = np.unique(np.linspace(0, tape.done(), looks + 1).astype(int)[1:])
    return FaultDiagnosis(
        told=tuple(finding.rule for finding in findings),
        fixes=tuple(finding.fix for finding in findings),
        looks=tuple((int(step), tuple(f.rule for f in pressing(tape.until(int(step)), rules))) for step in steps),
    )


def pressing(tape: Tape, rules: Sequence[Rule]) -> list[Finding]:
    """The root causes that are more than worth knowing."""
    return [finding for finding in root_findings(judge(rules, tape)) if finding.severity is not Severity.INFO]


def repaired(case: Case, fix: Mapping[str, Any]) -> Case | None:
    """The case with a fix, None where it changes nothing or is no recipe."""
    try:
        setup = case.setup.repaired(fix)
    except ClearsightError:
        return None
    return None if setup == case.setup else replace(case, setup=setup)
