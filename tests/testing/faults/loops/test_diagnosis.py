"""The benchmark of loops end to end on its smallest part: scripts run, are judged, and are read again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from clearsight.core.rule import Rule
from clearsight.debugger.rule_parser import select_rules
from clearsight.testing.faults.loops.cases import LoopCase, LoopPair, cases
from clearsight.testing.faults.loops.diagnosis import LoopResult, diagnose, examine
from clearsight.testing.faults.loops.execution import run
from clearsight.testing.faults.loops.setup import LoopSettings
from clearsight.testing.faults.loops.table import disturbed, harmful_runs


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def rules() -> list[Rule]:
    return select_rules("default")


def small(style: str, fault: str = "") -> LoopCase:
    data = "high-digits" if style == "binary" else "digits"
    settings = LoopSettings(lr=5e-3, epochs=2, batch_size=32, train_size=320)
    pair = LoopPair(style=style, network="small_cnn", data=data, side=8, settings=settings)
    return LoopCase(pair=pair, variant="base", seed=0, settings=settings, fault=fault)


def test_the_smoke_part(tmp_path: Path, rules: list[Rule]) -> None:
    results = [examine(case, tmp_path, tmp_path, rules) for case in cases("smoke")]
    healthy = [result for result in results if not result.fault]
    assert all(result.honest > 0.9 for result in healthy)
    assert disturbed(results) == []
    runs = harmful_runs(results)
    assert len(runs) >= 5
    assert {run.result.fault: run.verdict for run in runs if run.verdict != "named"} == {}
    result = results[-1]
    assert LoopResult.from_json(json.loads(json.dumps(asdict(result)))) == result
    again = diagnose(tmp_path / "runs" / result.key, rules)
    assert again == (result.root_causes, result.interim, result.steps)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("style", "package"),
    [
        ("script", "torch"),
        ("timm_like", "timm"),
        ("binary", "torch"),
        ("lightning", "lightning"),
        ("hugging_face", "transformers"),
    ],
)
def test_each_style_learns_and_is_watched(style: str, package: str, tmp_path: Path, rules: list[Rule]) -> None:
    pytest.importorskip(package, reason="the extra of this style is not installed")
    case = small(style)
    score = run(case, tmp_path / "run", tmp_path)
    assert score.error == ""
    assert score.honest > (0.7 if style == "binary" else 0.4)
    assert score.reported == pytest.approx(score.honest, abs=0.05)
    assert diagnose(tmp_path / "run", rules)[2] == 20


def test_the_same_case_gives_the_same_run(tmp_path: Path) -> None:
    scores = [run(small("tutorial"), tmp_path / name, tmp_path) for name in ("first", "second")]
    assert replace(scores[0], seconds=0) == replace(scores[1], seconds=0)


def test_a_script_that_raises_is_an_error_and_no_crash(tmp_path: Path, rules: list[Rule]) -> None:
    case = small("tutorial")
    case = replace(case, settings=case.settings.changed(optimizer="sgd", lr=-1.0))
    result = examine(case, tmp_path, tmp_path, rules)
    assert result.error.startswith("ValueError: Invalid learning rate")
    assert result.stopped
    assert (result.root_causes, result.steps) == ((), 0)
