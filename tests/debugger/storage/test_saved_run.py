"""SavedRun: what was saved of a run, read while it grows and after."""

from __future__ import annotations

import json
import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.errors import BadChoice, BadValue, NotFound
from clearsight.core.files import write_json
from clearsight.core.finding import Finding, Verdict, write_findings
from clearsight.core.run import MetricsLog
from clearsight.core.tensors import RawTensor, Scalars
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.debugger.storage.tape import Tape
from clearsight.debugger.storage.tensor_store import FileTensorStore
from tests.debugger.conftest import LIVE, write_metrics, write_run
from tests.debugger.records import at, plain, plains, predictions, raw, scalars, snapshot


def curves(tape: Tape) -> list[object]:
    """Everything that a rule may read of a tape, as plain values."""
    values: list[object] = [tape.context, tape.ended, [plain(event) for event in tape.events("nonfinite")]]
    for mode in ("train", "eval"):
        raw_names = [r.name for r in tape.records if isinstance(r, RawTensor) and r.at.mode == mode]
        values += [tape.done(mode), tape.scalars(mode), raw_names]  # type: ignore[arg-type]
        for name in tape.scalars(mode):  # type: ignore[arg-type]
            curve = tape.scalar(name, mode)  # type: ignore[arg-type]
            values.append([plain(part) for part in (curve.steps, curve.epochs, curve.values)])
        table = tape.statistic("l2", "weights", mode)  # type: ignore[arg-type]
        values.append([table.names, *(plain(part) for part in (table.steps, table.epochs, table.values))])
        predicted = tape.predictions(mode)  # type: ignore[arg-type]
        values.append([plain(getattr(predicted, name)) for name in predicted.__slots__])
        values += [plain(value) for name in raw_names for _, value in tape.raw(name, mode)]  # type: ignore[arg-type]
    evaluations = tape.evaluations()
    return [*values, *(plain(getattr(evaluations, name)) for name in evaluations.__slots__)]


def test_the_replayed_tape_equals_the_live_one(run_folder: Path) -> None:
    live = Tape(RunContext(steps=6, lr=0.1), LIVE, ended=True)
    replayed = SavedRun(run_folder).tape()
    assert curves(replayed) == curves(live)
    assert curves(replayed.until(3)) == curves(live.until(3))


def test_scalars_that_are_in_both_files_come_once(tmp_path: Path) -> None:
    write_metrics(tmp_path, [scalars(1)])
    FileTensorStore(tmp_path / "tensors").append([scalars(1), scalars(1, mine=2.0)])
    assert SavedRun(tmp_path).points() == {"loss": {"train": 1}, "mine": {"train": 1}}
    assert [record.at.step for record in SavedRun(tmp_path).records()] == [1, 1]
    assert [record.at.step for record in SavedRun(tmp_path).tail(patience=0)] == [1, 1]


def test_names_by_pattern_collection_and_mode(run_folder: Path) -> None:
    run = SavedRun(run_folder)
    assert run.tensor_names() == ["loss", "lr", "valid_loss", "input_channels", "a.weight", "b.weight"]
    assert run.tensor_names(r"weight$") == ["a.weight", "b.weight"]
    assert run.tensor_names(collection="losses") == ["loss", "valid_loss"]
    assert run.tensor_names(collection="scalars") == ["loss", "lr", "valid_loss"]
    assert run.tensor_names(mode="eval") == ["valid_loss"]
    assert run.tensor_names("a", "weights", "train") == ["a.weight"]


def test_steps_modes_and_points(run_folder: Path) -> None:
    run = SavedRun(run_folder)
    assert run.modes() == ["train", "eval"]
    assert run.steps() == [1, 2, 3, 4, 5, 6]
    assert run.steps("eval") == [3, 6]
    assert run.points()["loss"] == {"train": 6}
    assert run.points()["a.weight"] == {"train": 3}
    assert run.points()["input_channels"] == {"train": 3}


def test_a_step_with_values_and_statistics_is_one_point(tmp_path: Path) -> None:
    write_run(tmp_path, [snapshot(1), raw(1, "a.weight"), raw(2, "a.weight")])
    assert SavedRun(tmp_path).points() == {"a.weight": {"train": 2}, "b.weight": {"train": 1}}


def test_mistakes_raise_with_what_there_is(run_folder: Path, tmp_path: Path) -> None:
    run = SavedRun(run_folder)
    with pytest.raises(BadChoice, match=r"Did you mean a\.weight\?"):
        run.tensor("a.wieght")
    with pytest.raises(BadChoice, match=r"Did you mean weights\?"):
        run.tensor_names(collection="weight")
    with pytest.raises(BadChoice, match=r"Allowed: train, eval, predict"):
        run.tensor_names(mode="test")
    with pytest.raises(BadValue, match="no regular expression"):
        run.tensor_names("(")
    with pytest.raises(NotFound, match="no run in this folder"):
        SavedRun(tmp_path / "nothing")


def test_a_folder_with_scalars_alone_opens(tmp_path: Path) -> None:
    write_metrics(tmp_path, [scalars(1)])
    run = SavedRun(tmp_path)
    assert run.tensor("loss").value(1) == 1.0
    assert run.context == RunContext()
    assert run.findings() == []
    assert not run.ended


def test_findings_are_read(run_folder: Path) -> None:
    finding = Finding(rule="Overfit", verdict=Verdict.FOUND)
    write_findings(run_folder / "findings.jsonl", [finding])
    assert SavedRun(run_folder).findings() == [finding]


@pytest.mark.parametrize(("status", "ended"), [("running", False), ("completed", True), ("diverged", True)])
def test_run_json_says_whether_a_run_of_our_loop_ended(tmp_path: Path, status: str, ended: bool) -> None:
    write_json(tmp_path / "run.json", {"status": status})
    assert SavedRun(tmp_path).ended is ended


def test_each_rank_is_read_by_itself(run_folder: Path) -> None:
    second = FileTensorStore(run_folder / "tensors", 1)
    second.append([raw(2, "of_the_second")])
    assert "of_the_second" in SavedRun(run_folder, rank=1).tensor_names()
    assert "of_the_second" not in SavedRun(run_folder).tensor_names()
    assert SavedRun(run_folder).ended
    assert not SavedRun(run_folder, rank=1).ended
    second.finish()
    assert SavedRun(run_folder, rank=1).ended


# While it grows


def test_a_saved_run_follows_its_files(tmp_path: Path) -> None:
    write_run(tmp_path, [scalars(1), snapshot(1)], ended=False)
    run = SavedRun(tmp_path)
    assert run.steps() == [1]
    write_run(tmp_path, [scalars(2), snapshot(2)], ended=True)
    assert run.steps() == [1, 2]
    assert run.tensor("a.weight").steps() == [1, 2]
    assert run.ended


def test_a_run_that_went_back_to_a_checkpoint_is_read_anew(tmp_path: Path) -> None:
    write_run(tmp_path, [record for step in (1, 2, 3) for record in (scalars(step), snapshot(step))], ended=False)
    run = SavedRun(tmp_path)
    assert run.points() == {"loss": {"train": 3}, "a.weight": {"train": 3}, "b.weight": {"train": 3}}
    FileTensorStore(tmp_path / "tensors").rewind(1)
    MetricsLog(tmp_path / "metrics.jsonl", last_step=1)
    assert run.steps() == [1]
    assert run.points()["a.weight"] == {"train": 1}
    write_run(tmp_path, [scalars(2), snapshot(2)])
    assert run.steps() == [1, 2]
    assert run.tensor("a.weight").steps() == [1, 2]


def test_the_tail_of_an_ended_run_is_all_of_it(run_folder: Path) -> None:
    assert plains(SavedRun(run_folder).tail()) == plains(SavedRun(run_folder).records())


def test_the_tail_gives_what_comes_and_ends_with_the_run(tmp_path: Path) -> None:
    write_run(tmp_path, [scalars(1), predictions(1)], ended=False)
    tail = SavedRun(tmp_path).tail()
    assert plains(islice(tail, 2)) == plains([scalars(1), predictions(1)])
    later = threading.Timer(0.05, write_run, (tmp_path, [scalars(2), predictions(2)]))
    later.start()
    assert plains(tail) == plains([scalars(2), predictions(2)])
    later.join()


def test_the_tail_of_a_dead_run_ends_when_its_patience_is_over(tmp_path: Path) -> None:
    write_run(tmp_path, [scalars(1)], ended=False)
    assert plains(SavedRun(tmp_path).tail(patience=0.05)) == plains([scalars(1)])


def test_waiting_ends_when_the_step_is_passed(tmp_path: Path) -> None:
    write_run(tmp_path, [scalars(1)], ended=False)
    later = threading.Timer(0.05, write_metrics, (tmp_path, [scalars(2), scalars(4)]))
    later.start()
    assert SavedRun(tmp_path).wait_for_steps([1, 3], timeout=60) == [1]
    later.join()
    assert SavedRun(tmp_path).steps() == [1, 2, 4]


def test_waiting_ends_with_the_run_or_the_time(run_folder: Path, tmp_path: Path) -> None:
    assert SavedRun(run_folder).wait_for_steps([3, 100]) == [3]
    write_run(tmp_path / "other", [scalars(1)], ended=False)
    assert SavedRun(tmp_path / "other").wait_for_steps([100], timeout=0.01) == []


def test_arrays_stay_on_disk_until_they_are_requested(run_folder: Path) -> None:
    run = SavedRun(run_folder)
    tensor = run.tensor("input_channels")
    for blob in (run_folder / "tensors").glob("*.safetensors"):
        blob.unlink()
    assert tensor.steps() == [2, 4, 6]


def test_records_come_in_the_order_of_training(tmp_path: Path) -> None:
    write_run(
        tmp_path, [predictions(1), scalars(1), Scalars(at(1, "eval"), {"valid_loss": 1.0}), predictions(2), scalars(2)]
    )
    steps = [record.at.train_step for record in SavedRun(tmp_path).records()]
    assert steps == sorted(steps)


def test_metrics_are_plain_lines(run_folder: Path) -> None:
    first = json.loads((run_folder / "metrics.jsonl").read_text().splitlines()[0])
    assert first == {"step": 1, "epoch": 1, "mode": "train", "name": "loss", "value": 1.0}
    value = SavedRun(run_folder).tensor("input_channels").value(2)
    expected = raw(2)
    assert isinstance(expected, RawTensor)
    np.testing.assert_array_equal(value, expected.value)
