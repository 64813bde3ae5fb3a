"""Runs beside each other, gathered from their folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from clearsight.core.errors import BadValue, NotFound
from clearsight.core.events import RunStatus
from clearsight.workflow.compare import compare
from tests.workflow.made_runs import evaluate, found, made_run


def first(hits: int, of: int = 100) -> list[bool]:
    return [place < hits for place in range(of)]


def test_a_study_of_three_networks(tmp_path: Path) -> None:
    for name, hits in (("resnet50", 70), ("resnet101", 90), ("resnet152", 89)):
        evaluate(made_run(tmp_path / name, model=name), first(hits))
    told = compare([tmp_path / "resnet50", tmp_path / "resnet101", tmp_path / "resnet152"]).to_json()
    assert told["best"] == ["resnet101"]
    assert told["split"] == "test"
    assert told["differences"] == {
        "model": {"resnet50": "resnet50", "resnet101": "resnet101", "resnet152": "resnet152"}
    }
    by_run = {contest["against"]: contest for contest in told["contests"]}
    assert (by_run["resnet50"]["best_alone"], by_run["resnet50"]["beyond"]) == (20, True)
    assert (by_run["resnet152"]["best_alone"], by_run["resnet152"]["beyond"]) == (1, False)
    assert told["runs"][1]["test"]["accuracy"] == 0.9
    assert told["runs"][1]["valid"]["images"] == 100
    assert "Its lead over resnet50 is more than chance" in told["verdict"]
    json.dumps(told, allow_nan=False)


def test_findings_come_along(tmp_path: Path) -> None:
    found(made_run(tmp_path / "a"))
    made_run(tmp_path / "b")
    told = compare([tmp_path / "a", tmp_path / "b"]).to_json()
    assert [one["rule"] for one in told["runs"][0]["findings"]] == ["Overfit"]
    assert told["runs"][0]["findings"][0]["fix"] == {"weight_decay": 0.05}
    assert told["runs"][1]["findings"] == []


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    made_run(tmp_path / "monday" / "first")
    made_run(tmp_path / "tuesday" / "first")
    runs = compare([tmp_path / "monday" / "first", tmp_path / "tuesday" / "first"]).runs
    assert [run.label for run in runs] == ["monday/first", "tuesday/first"]


def test_a_run_may_still_be_growing(tmp_path: Path) -> None:
    made_run(tmp_path / "a", done=1, status=RunStatus.RUNNING)
    made_run(tmp_path / "b", level=0.9)
    comparison = compare([tmp_path / "a", tmp_path / "b"])
    assert comparison.standing.best == ("b",)
    assert "a is still in training." in comparison.standing.warnings


def test_other_data_are_warned_of(tmp_path: Path) -> None:
    made_run(tmp_path / "a")
    made_run(tmp_path / "b", fingerprint="b" * 64)
    assert "not on the same data" in compare([tmp_path / "a", tmp_path / "b"]).to_json()["warnings"][0]


def test_parameters_are_counted_from_the_weights_without_statistics(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a")
    made_run(tmp_path / "b")
    tensors = {"fc.weight": np.zeros((2, 5)), "fc.bias": np.zeros(2), "bn.running_mean": np.zeros(7)}
    save_file({**tensors, "bn.num_batches_tracked": np.array(3)}, run.bundle / "model.safetensors")
    assert [one.parameters for one in compare([tmp_path / "a", tmp_path / "b"]).runs] == [12, None]


def test_the_page_is_written_where_one_likes(tmp_path: Path) -> None:
    made_run(tmp_path / "a")
    made_run(tmp_path / "b")
    page = tmp_path / "new" / "page.html"
    compare([tmp_path / "a", tmp_path / "b"]).write_page(page)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_mistakes_are_sentences(tmp_path: Path) -> None:
    made_run(tmp_path / "a")
    with pytest.raises(BadValue, match="1 run: 2 to 12 can be compared"):
        compare([tmp_path / "a"])
    with pytest.raises(BadValue, match="named more than once"):
        compare([tmp_path / "a", tmp_path / "a" / ".." / "a"])
    with pytest.raises(NotFound, match="no run in this folder"):
        compare([tmp_path / "a", tmp_path / "b"])
