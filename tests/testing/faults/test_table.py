"""The table counts found faults and false alarms."""

from __future__ import annotations

from typing import Any

import pytest

from clearsight.testing.faults.benchmark import Result
from clearsight.testing.faults.catalogue import fault
from clearsight.testing.faults.table import accuracies, alarms, disturbed, missed, row, rows, table


def result(name: str = "lr_x100", root_causes: tuple[str, ...] = (), **more: Any) -> Result:
    known: dict[str, Any] = {
        "key": f"{name}-small_cnn-digits-0",
        "pair": ("small_cnn", "digits"),
        "seed": 0,
        "faulty": not name.startswith("healthy"),
        "accuracy": 0.5,
        "loss": 1.0,
        "honest": 0.5,
        "steps": 80,
        "seconds": 1.0,
        "interim": ((40, ()), (80, root_causes)),
        "harm": 0.4,
    }
    return Result(name=name, root_causes=root_causes, **{**known, **more})


def test_found_is_among_the_first_two() -> None:
    runs = [
        result(root_causes=("LearningRateTooHigh",)),
        result(root_causes=("Overfit", "LearningRateTooHigh")),
        result(root_causes=("Overfit", "DataLeak", "LearningRateTooHigh")),
        result(),
    ]
    figures = row(fault("lr_x100"), runs)
    assert (figures.n, figures.found, figures.first) == (4, 2, 1)
    assert (figures.expected, figures.named) == (3, 6)


def test_the_step_is_the_first_check_that_named_it() -> None:
    expected = ("LearningRateTooHigh",)
    interim = ((8, ()), (16, expected), (80, expected))
    assert row(fault("lr_x100"), [result(root_causes=expected, interim=interim), result()]).step == 16


@pytest.mark.parametrize(("regained", "count"), [(0.95, 1), (0.9, 1), (0.89, 0)])
def test_repaired_is_nine_tenths_regained(regained: float, count: int) -> None:
    figures = row(fault("lr_x100"), [result(regained=regained), result(regained=None)])
    assert figures.repaired == (count, 1)
    assert figures.regained == regained


def test_rows_are_in_the_order_of_the_catalogue_without_the_healthy() -> None:
    runs = [result("missing_zero_grad"), result("healthy-base"), result("lr_x100")]
    assert [line.name for line in rows(runs)] == ["lr_x100", "missing_zero_grad"]


def test_alarms_count_healthy_runs_at_the_end_and_during_the_run() -> None:
    early = result("healthy-sgd", interim=((40, ("Overfit",)), (80, ())))
    runs = [
        result("healthy-base"),
        result("healthy-step", root_causes=("Overfit",)),
        early,
        result(root_causes=("Overfit",)),
    ]
    assert alarms(runs) == (1, 2, 3)
    assert disturbed(runs) == [
        "healthy-step-small_cnn-digits-0: Overfit",
        "healthy-sgd-small_cnn-digits-0: only during the run: Overfit after 40 of 80 steps",
    ]


def test_missed_runs_list_the_root_causes_that_were_named() -> None:
    assert missed([result(root_causes=("Overfit",)), result(root_causes=("LearningRateTooHigh",))]) == [
        "lr_x100-small_cnn-digits-0: Overfit (harm 0.40)"
    ]


def test_the_table_has_a_line_per_fault_and_the_sums() -> None:
    text = table(
        [result(root_causes=("LearningRateTooHigh",), regained=1.0), result("zero_init"), result("healthy-base")]
    )
    assert "| lr_x100 | 0.40 | 1 | 100% (1 of 1, 21 to 100%) | 100% | 100% | 80 | 80 | 1 of 1 | 100% |" in text
    assert "found 50% (1 of 2, 9 to 91%)" in text
    assert "Healthy runs disturbed: 0% (0 of 1, 0 to 79%) at the end" in text


def test_accuracies_per_pair() -> None:
    text = accuracies([result("healthy-base", accuracy=0.9), result("healthy-base", accuracy=0.8), result()])
    assert "| healthy-base | 0.85 |" in text
