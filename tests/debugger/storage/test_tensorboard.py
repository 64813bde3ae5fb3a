"""Export to TensorBoard: the same numbers."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import BadValue, MissingExtra
from clearsight.core.tensors import STATISTICS
from clearsight.debugger.storage.saved_run import SavedRun
from tests.debugger.records import snapshot

installed = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="the extra tensorboard is not installed"
)


def events(folder: Path) -> Any:
    """The reader of TensorBoard itself, loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0})  # 0: all
    found.Reload()
    return found


def test_without_the_package_the_extra_is_named(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"clearsight\[tensorboard\]"):
        SavedRun(run_folder).to_tensorboard(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


@installed
def test_scalars_statistics_and_histograms_are_written_per_mode(run_folder: Path, tmp_path: Path) -> None:
    folders = SavedRun(run_folder).to_tensorboard(tmp_path)
    assert folders == [tmp_path / "train", tmp_path / "eval"]
    train = events(tmp_path / "train")
    assert [(e.step, e.value) for e in train.Scalars("loss")] == [(s, pytest.approx(1 / s)) for s in range(1, 7)]
    (mean, *_), stored = train.Scalars("weights/a.weight/mean"), snapshot(2)
    assert (mean.step, mean.value) == (2, stored.table[0, STATISTICS.index("mean")])
    assert {"weights/a.weight", "inputs/input_channels"} <= set(train.Tags()["histograms"])
    assert stored.histograms is not None
    assert sum(train.Histograms("weights/a.weight")[0].histogram_value.bucket) == stored.histograms[0].sum()
    assert events(tmp_path / "eval").Tags()["scalars"] == ["valid_loss"]


@installed
def test_event_files_that_are_there_are_not_mixed_with_others(run_folder: Path, tmp_path: Path) -> None:
    SavedRun(run_folder).to_tensorboard(tmp_path)
    with pytest.raises(BadValue, match="event files are there already"):
        SavedRun(run_folder).to_tensorboard(tmp_path)
