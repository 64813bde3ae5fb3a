"""SavedTensor: values where they were saved, statistics always, and an error where there is neither."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clearsight.core.errors import BadChoice
from clearsight.core.tensors import BINS, STATISTICS, Scalars
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.debugger.storage.saved_tensor import histogram_of, statistics_of
from tests.debugger.conftest import write_run
from tests.debugger.records import at, raw, scalars, snapshot


def statistic(values: object, name: str) -> float:
    return float(statistics_of(np.asarray(values))[STATISTICS.index(name)])


def test_a_scalar_is_a_number_per_step(run_folder: Path) -> None:
    loss = SavedRun(run_folder).tensor("loss")
    assert (loss.collection, loss.modes(), loss.steps()) == ("losses", ["train"], [1, 2, 3, 4, 5, 6])
    assert loss.value(2) == 0.5
    assert list(loss.values().values()) == pytest.approx([1 / step for step in range(1, 7)])
    assert loss.curve() == loss.values()


def test_several_values_of_a_step_are_averaged(tmp_path: Path) -> None:
    write_run(tmp_path, [scalars(1, loss=1.0), scalars(1, loss=3.0)])
    loss = SavedRun(tmp_path).tensor("loss")
    assert loss.value(1) == 2.0
    assert loss.values() == {1: 2.0}
    assert SavedRun(tmp_path).tape().scalar("loss").values.tolist() == [2.0]


def test_a_whole_tensor_gives_its_array_and_statistics_of_it(run_folder: Path) -> None:
    tensor, expected = SavedRun(run_folder).tensor("input_channels"), raw(4)
    np.testing.assert_array_equal(tensor.value(4), expected.value)
    assert list(tensor.values()) == [2, 4, 6]
    assert tensor.reduction("mean")[4] == pytest.approx(expected.value.mean(dtype=float))
    assert tensor.reductions(4)["count"] == 12
    counts, edges = tensor.histogram(4)
    assert (counts.shape, edges.shape, counts.sum()) == ((BINS,), (BINS + 1,), 12)


def test_of_statistics_alone_the_statistics_are_given(run_folder: Path) -> None:
    tensor, stored = SavedRun(run_folder).tensor("b.weight"), snapshot(4)
    assert tensor.reductions(4) == dict(zip(STATISTICS, stored.table[1].tolist(), strict=True))
    assert list(tensor.reduction("l2")) == [2, 4, 6]
    counts, edges = tensor.histogram(4)
    assert stored.histograms is not None
    np.testing.assert_array_equal(counts, stored.histograms[1])
    low, high = (float(stored.table[1, STATISTICS.index(name)]) for name in ("min", "max"))
    assert (edges[0], edges[-1]) == (low, high)


def test_a_value_that_was_not_saved_names_what_was(run_folder: Path) -> None:
    run = SavedRun(run_folder)
    with pytest.raises(BadChoice, match="only the statistics count, mean, std"):
        run.tensor("a.weight").value(2)
    with pytest.raises(BadChoice, match="only the statistics count, mean, std"):
        run.tensor("a.weight").values()
    with pytest.raises(BadChoice, match="nearest saved steps are 2 and 4"):
        run.tensor("a.weight").reductions(3)
    with pytest.raises(BadChoice, match="nearest saved steps are 6"):
        run.tensor("loss").value(99)
    with pytest.raises(BadChoice, match=r"not saved in eval\. Allowed: train"):
        run.tensor("loss").value(1, "eval")
    with pytest.raises(BadChoice, match=r"Did you mean mean\?"):
        run.tensor("a.weight").reduction("meen")


def test_no_histogram_where_none_was_saved(tmp_path: Path) -> None:
    whole = snapshot(1)
    write_run(tmp_path, [type(whole)(whole.at, whole.names, whole.collections, whole.table)])
    with pytest.raises(BadChoice, match='save="full"'):
        SavedRun(tmp_path).tensor("a.weight").histogram(1)


def test_stored_statistics_come_before_computed_ones(tmp_path: Path) -> None:
    write_run(tmp_path, [snapshot(1), raw(1, "a.weight"), raw(2, "a.weight")])
    tensor, stored = SavedRun(tmp_path).tensor("a.weight"), snapshot(1)
    means = tensor.reduction("mean")
    assert means[1] == stored.table[0, STATISTICS.index("mean")]
    assert means[2] == pytest.approx(raw(2).value.mean(dtype=float))


def test_tensors_that_come_and_go_keep_their_own_steps(tmp_path: Path) -> None:
    write_run(tmp_path, [snapshot(1, ("head",)), snapshot(2, ("head", "body")), snapshot(3, ("head",))])
    run = SavedRun(tmp_path)
    assert run.tensor("head").steps() == [1, 2, 3]
    assert run.tensor("body").steps() == [2]
    assert run.tensor("body").reductions(2)["l2"] == snapshot(2, ("head", "body")).table[1, STATISTICS.index("l2")]


def test_rows_for_a_frame(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    rows = SavedRun(run_folder).tensor("loss").to_frame()
    assert rows[1] == {"mode": "train", "step": 2, "epoch": 1, "train_step": 2, "value": 0.5}
    assert list(SavedRun(run_folder).tensor("a.weight").to_frame()[0])[4:] == list(STATISTICS)


def test_a_frame_where_pandas_is_installed(run_folder: Path) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = SavedRun(run_folder).tensor("loss").to_frame()
    assert list(frame.columns) == ["mode", "step", "epoch", "train_step", "value"]
    assert len(frame) == 6


def test_modes_are_apart(tmp_path: Path) -> None:
    write_run(tmp_path, [scalars(1, loss=1.0), Scalars(at(1, "eval"), {"loss": 2.0})])
    loss = SavedRun(tmp_path).tensor("loss")
    assert (loss.value(1), loss.value(1, "eval")) == (1.0, 2.0)


@given(hnp.arrays(np.float32, st.integers(1, 30), elements=st.floats(-1e6, 1e6, width=32)))
def test_statistics_are_those_of_the_values(values: np.ndarray) -> None:  # type: ignore[type-arg]
    exact = values.astype(np.float64)
    assert statistic(values, "mean") == pytest.approx(exact.mean())
    assert statistic(values, "std") == pytest.approx(exact.std())
    assert statistic(values, "l2") == pytest.approx(np.sqrt((exact**2).sum()))
    assert statistic(values, "zero_fraction") == np.mean(exact == 0)
    assert statistic(values, "min") <= statistic(values, "q01") <= statistic(values, "q50") <= statistic(values, "max")
    assert histogram_of(values)[0].sum() == len(values)


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    values = [1.0, np.nan, np.inf, -np.inf, 3.0]
    assert [statistic(values, name) for name in ("count", "nan", "inf", "mean", "max")] == [5, 1, 2, 2, 3]
    assert [statistic([np.nan], name) for name in ("count", "nan", "inf", "mean")] == [1, 1, 0, 0]
    assert histogram_of(np.array([np.nan]))[0].sum() == 0
