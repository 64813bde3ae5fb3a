"""Diagnosis of a case: its run, kept on disk, and what the rules make of it, at its end and while it went on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clearsight.core.files import read_json, write_json
from clearsight.core.rule import Rule
from clearsight.core.run import RunFolder
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.testing.faults.benchmark import serious_root_causes
from clearsight.testing.faults.loops.cases import LoopCase
from clearsight.testing.faults.loops.execution import DEBUGGER, LoopScore, run

_CHECKS = 10  # times that a run is judged while it goes on, evenly over its steps


@dataclass(frozen=True, kw_only=True)
class LoopResult:
    """Measurements of a case. place: style, network, data.  interim: (training steps, root causes so far)."""

    key: str
    fault: str
    variant: str
    place: tuple[str, str, str]
    seed: int
    steps: int
    reported: float
    honest: float
    seconds: float
    error: str
    root_causes: tuple[str, ...]
    interim: tuple[tuple[int, tuple[str, ...]], ...]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LoopResult:
        """Return the result that `asdict` and JSON made."""
        interim = tuple((step, tuple(rules)) for step, rules in values["interim"])
        lists = {name: tuple(values[name]) for name in ("place", "root_causes")}
        return cls(**{**values, **lists, "interim": interim})

    @property
    def stopped(self) -> bool:
        """Return True if the script itself raised an error, which no author overlooks."""
        return bool(self.error) and not self.error.startswith(DEBUGGER)

    @property
    def shown(self) -> tuple[str, ...]:
        """Root causes at the end, or where there are none the first ones during the run."""
        return self.root_causes or next((rules for _, rules in self.interim if rules), ())


def examine(case: LoopCase, work: Path, shared: Path, rules: Sequence[Rule]) -> LoopResult:
    """Run a case, or read its run where it exists in `work`, and judge it. shared: folder of images and weights."""
    score = recorded(case, work, shared)
    causes, interim, steps = diagnose(work / "runs" / case.key, rules)
    pair = case.pair
    return LoopResult(
        key=case.key,
        fault=case.fault,
        variant=case.variant,
        place=(pair.style, pair.network, pair.data),
        seed=case.seed,
        steps=steps,
        root_causes=causes,
        interim=interim,
        **asdict(score),
    )


def diagnose(
    folder: Path, rules: Sequence[Rule]
) -> tuple[tuple[str, ...], tuple[tuple[int, tuple[str, ...]], ...], int]:
    """Return the root causes at the end of a run, those at ten times during it, and its training steps."""
    if not RunFolder(folder).findings.exists():
        return (), (), 0  # the script stopped before the hook was attached
    tape = SavedRun(folder).tape()

    def causes(view: Any) -> tuple[str, ...]:
        return tuple(finding.rule for finding in serious_root_causes(view, rules))

    steps = np.unique(np.linspace(0, tape.done(), _CHECKS + 1).astype(int)[1:])
    return causes(tape), tuple((int(step), causes(tape.until(int(step)))) for step in steps), tape.done()


def recorded(case: LoopCase, work: Path, shared: Path) -> LoopScore:
    """Run a case into `work`, or read its score where it exists already."""
    folder = work / "runs" / case.key
    if not (folder / "score.json").is_file():
        temporary = work / "making" / f"{case.key}-{os.getpid()}"
        shutil.rmtree(temporary, ignore_errors=True)
        score = run(case, temporary, shared)
        temporary.mkdir(parents=True, exist_ok=True)
        write_json(temporary / "score.json", asdict(score))
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    return LoopScore(**read_json(folder / "score.json"))
