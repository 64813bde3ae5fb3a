"""Recorded runs of planted faults, watched by the debugger, kept on disk, and judged again when rules change."""

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

_HALF = (0.5, 0.5, 0.5)  # mean and standard deviation that the weights of mobilenetv2 expect
# A run of other code is another run, so the code of faults is part of a run's key.
_CODE = "".join(
    hashlib.sha256(Path(__file__).with_name(f"{name}.py").read_bytes()).hexdigest()
    for name in ("batches", "loop", "networks", "images")
)
_CHECKS = 10  # times that a run is judged while it goes on, evenly over its steps


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run to train. name: for people.  fault: name of the planted fault, "" in a healthy run."""

    name: str
    setup: FaultSetup
    fault: str = ""

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
    """Verdicts of the rules on a run.

    root_causes: rules that are severe or a warning, the most important first.  fixes: of each, aligned.  interim: the
    same rules during the run, as (training steps, rules).
    """

    root_causes: tuple[str, ...]
    fixes: tuple[Mapping[str, Any], ...]
    interim: tuple[tuple[int, tuple[str, ...]], ...] = ()

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


def record(case: Case, work: Path, shared: Path, rules: Sequence[Rule]) -> FaultScore:
    """Train a case's run in `work`, or read its score where it exists already.

    Another process may train the same run at the same time: one of the two is kept.
    """
    folder = work / "runs" / case.key
    if not (folder / "score.json").is_file():
        temporary = work / "making" / f"{case.key}-{os.getpid()}"
        shutil.rmtree(temporary, ignore_errors=True)
        score = recorded_run(case.setup, temporary, shared, rules)
        write_json(temporary / "score.json", asdict(score))
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.rename(folder)
        except OSError:
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
        setup = case.setup.repaired(fix)
    except ClearsightError:
        return None
    return None if setup == case.setup else replace(case, setup=setup)
