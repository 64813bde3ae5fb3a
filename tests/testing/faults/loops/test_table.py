"""The table of loops: harm, verdicts, and healthy runs that were disturbed."""

from __future__ import annotations

from typing import Any

import pytest

from clearsight.testing.faults.loops.cases import kind
from clearsight.testing.faults.loops.diagnosis import LoopResult
from clearsight.testing.faults.loops.table import (
    accuracies,
    disturbed,
    errors,
    harm,
    harmful_runs,
    missed,
    sums,
    table,
    verdict,
)


def result(fault: str = "", root_causes: tuple[str, ...] = (), **more: Any) -> LoopResult:
    known: dict[str, Any] = {
        "key": f"{fault or 'healthy-base'}-tutorial",
        "variant": "base",
        "place": ("tutorial", "small_cnn", "digits"),
        "seed": 0,
        "steps": 100,
        "reported": 0.9 if not fault else 0.3,
        "honest": 0.9 if not fault else 0.3,
        "seconds": 1.0,
        "error": "",
        "interim": ((50, ()), (100, root_causes)),
    }
    return LoopResult(fault=fault, root_causes=root_causes, **{**known, **more})


@pytest.mark.parametrize(
    ("root_causes", "expected"),
    [
        (("UpdateMissing",), "named"),
        (("Overfit", "UpdateMissing"), "named"),
        (("Overfit", "DataLeak", "UpdateMissing"), "misleading"),
        (("NotLearning",), "near"),
        (("Overfit", "NotLearning"), "near"),
        (("Overfit",), "misleading"),
        ((), "nothing"),
    ],
)
def test_verdicts(root_causes: tuple[str, ...], expected: str) -> None:
    assert verdict(kind("step_missing"), root_causes) == expected


def test_harm_of_accuracy_and_of_a_reported_figure() -> None:
    assert harm(result("step_missing"), result()) == pytest.approx(0.6)
    assert harm(result("leak", reported=0.95, honest=0.9), result()) == pytest.approx(0.05)
    assert harm(result("step_missing", reported=0.95, honest=0.9), result()) == pytest.approx(0)


def test_harmless_runs_stopped_scripts_and_runs_without_twin_do_not_count() -> None:
    runs = [
        result(),
        result("step_missing"),
        result("lr_zero", honest=0.89),
        result("loss_sign", error="RuntimeError: no gradient"),
        result("lr_x100", seed=1),
    ]
    assert [run.result.fault for run in harmful_runs(runs)] == ["step_missing"]
    assert errors(runs) == ["loss_sign-tutorial: RuntimeError: no gradient"]


def test_a_failed_debugger_is_a_miss() -> None:
    runs = [result(), result("step_missing", error="clearsight: the debugger has ended")]
    assert [run.verdict for run in harmful_runs(runs)] == ["nothing"]


def test_a_healthy_run_is_disturbed_by_what_it_showed_at_any_time() -> None:
    alarm = result(interim=((50, ("Overfit",)), (100, ())))
    assert disturbed([alarm, result()]) == ["healthy-base-tutorial: Overfit after 50 of 100 steps alone"]
    assert disturbed([result(root_causes=("DataLeak",))]) == ["healthy-base-tutorial: DataLeak at the end"]


def test_totals() -> None:
    runs = [result(), result("step_missing", ("UpdateMissing",)), result("lr_zero", ("Overfit",))]
    text = "\n".join(sums(runs))
    assert "named: 50% (1 of 2" in text
    assert "misleading: 50% (1 of 2" in text
    assert "name the cause: 50% (1 of 2" in text
    assert "disturbed: 0% (0 of 1" in text
    assert missed(runs)[0].startswith("lr_zero-tutorial: misleading: Overfit (harm 0.60")
    assert "| step_missing |" in table(runs)
    assert "| tutorial small_cnn digits | 0.90 |" in accuracies(runs)
