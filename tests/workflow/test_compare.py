"""Comparison of runs that are read from their folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from clearsight.core.errors import BadValue, NotFound
from clearsight.core.events import RunStatus
from clearsight.workflow.compare import compare
from tests.workflow.run_folders import write_evaluation, write_run, write_verdicts


def first(hits: int, of: int = 100) -> list[bool]:
    return [index < hits for index in range(of)]


def test_a_study_of_three_networks(tmp_path: Path) -> None:
    for name, hits in (("resnet50", 70), ("resnet101", 90), ("resnet152", 89)):
        write_evaluation(write_run(tmp_path / name, model=name), first(hits))
    values = compare([tmp_path / "resnet50", tmp_path / "resnet101", tmp_path / "resnet152"]).to_json()
    assert values["best"] == ["resnet101"]
    assert values["split"] == "test"
    assert values["differences"] == {
        "model": {"resnet50": "resnet50", "resnet101": "resnet101", "resnet152": "resnet152"}
    }
    by_run = {comparison["against"]: comparison for comparison in values["contests"]}
    assert (by_run["resnet50"]["best_alone"], by_run["resnet50"]["beyond"]) == (20, True)
    assert (by_run["resnet152"]["best_alone"], by_run["resnet152"]["beyond"]) == (1, False)
    assert values["runs"][1]["test"]["accuracy"] == 0.9
    assert values["runs"][1]["valid"]["images"] == values["runs"][1]["valid"]["pictures"] == 100
    assert "Its lead over resnet50 is significant" in values["verdict"]
    json.dumps(values, allow_nan=False)


def test_findings_are_included(tmp_path: Path) -> None:
    write_verdicts(write_run(tmp_path / "a"))
    write_run(tmp_path / "b")
    values = compare([tmp_path / "a", tmp_path / "b"]).to_json()
    assert [finding["rule"] for finding in values["runs"][0]["findings"]] == ["Overfit"]
    assert values["runs"][0]["findings"][0]["fix"] == {"weight_decay": 0.05}
    assert values["runs"][1]["findings"] == []


def test_runs_of_one_name_are_labelled_by_their_folders(tmp_path: Path) -> None:
    write_run(tmp_path / "monday" / "first")
    write_run(tmp_path / "tuesday" / "first")
    runs = compare([tmp_path / "monday" / "first", tmp_path / "tuesday" / "first"]).runs
    assert [run.label for run in runs] == ["monday/first", "tuesday/first"]


def test_a_run_may_still_be_training(tmp_path: Path) -> None:
    write_run(tmp_path / "a", done=1, status=RunStatus.RUNNING)
    write_run(tmp_path / "b", level=0.9)
    comparison = compare([tmp_path / "a", tmp_path / "b"])
    assert comparison.ranking.best == ("b",)
    assert "a is still training." in comparison.ranking.warnings


def test_different_data_give_a_warning(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", fingerprint="b" * 64)
    assert "not on the same data" in compare([tmp_path / "a", tmp_path / "b"]).to_json()["warnings"][0]


def test_parameters_are_counted_from_the_weights_without_statistics(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a")
    write_run(tmp_path / "b")
    tensors = {"fc.weight": np.zeros((2, 5)), "fc.bias": np.zeros(2), "bn.running_mean": np.zeros(7)}
    save_file({**tensors, "bn.num_batches_tracked": np.array(3)}, run.bundle / "model.safetensors")
    assert [run.parameters for run in compare([tmp_path / "a", tmp_path / "b"]).runs] == [12, None]


def test_the_page_is_written_into_a_new_folder(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b")
    page = tmp_path / "new" / "page.html"
    compare([tmp_path / "a", tmp_path / "b"]).write_page(page)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_errors_name_the_run_and_the_reason(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    with pytest.raises(BadValue, match="1 run: 2 to 12 can be compared"):
        compare([tmp_path / "a"])
    with pytest.raises(BadValue, match="named more than once"):
        compare([tmp_path / "a", tmp_path / "a" / ".." / "a"])
    with pytest.raises(NotFound, match="no run in this folder"):
        compare([tmp_path / "a", tmp_path / "b"])
