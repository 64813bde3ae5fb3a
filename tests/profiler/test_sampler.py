"""Sampler: samples at an even pace; nothing that fails in it reaches the training."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from clearsight.core.errors import BadValue
from clearsight.core.profile_folder import gauges_file, read_profile
from clearsight.profiler import sampler as module
from clearsight.profiler.sampler import Sampler


class Counting:
    """A source that counts its samples, sets `reached` at the `signal`-th, and raises at the `breaks_at`-th."""

    def __init__(self, *, signal: int = 3, breaks_at: int = 0, slow: float = 0.0) -> None:
        self.samples, self.closed = 0, 0
        self._signal, self._breaks_at, self._slow = signal, breaks_at, slow
        self.reached, self._never = threading.Event(), threading.Event()

    def read(self) -> Mapping[str, float]:
        self.samples += 1
        if self.samples == self._signal:
            self.reached.set()
        if self.samples == self._breaks_at:
            raise RuntimeError("the sensor is gone")
        if self._slow:
            self._never.wait(self._slow)
        return {"memory": float(self.samples), "broken": float("nan")}

    def close(self) -> None:
        self.closed += 1


def run(sampler: Sampler, source: Counting) -> None:
    with sampler:
        assert source.reached.wait(20)


@pytest.mark.parametrize("every", [0.09, 0.0, -1.0, 61.0, float("nan"), float("inf")])
def test_an_interval_out_of_range_raises(every: float) -> None:
    with pytest.raises(BadValue, match=r"must be 0\.1 to 60 s"):
        Sampler(None, every=every)
    with pytest.raises(BadValue):
        Sampler(None).set_every(every)


def test_the_first_sample_is_at_once_and_the_last_when_it_is_stopped() -> None:
    source = Counting(signal=1)
    sampler = Sampler(None, every=60.0, sources=[source])
    run(sampler, source)
    assert [sample.values["memory"] for sample in sampler.samples] == [1.0, 2.0]
    assert source.closed == 1
    assert sampler.failure == ""


def test_the_pace_does_not_drift() -> None:
    source = Counting(signal=6, slow=0.06)
    sampler = Sampler(None, every=0.2, sources=[source])
    run(sampler, source)
    times = np.array([sample.time for sample in sampler.samples[:-1]])
    late = times - times[0] - 0.2 * np.round((times - times[0]) / 0.2)
    assert np.all(np.diff(times) > 0)
    assert np.median(np.abs(late)) < 0.04, "samples stay on schedule, however long each takes"


def test_missed_deadlines_are_skipped() -> None:
    source = Counting(signal=3, slow=0.25)
    sampler = Sampler(None, every=0.1, sources=[source])
    run(sampler, source)
    assert np.all(np.diff([sample.time for sample in sampler.samples[:-1]]) > 0.24)


def test_the_interval_can_be_changed_while_it_runs() -> None:
    source = Counting(signal=4)
    with Sampler(None, every=60.0, sources=[source]) as sampler:
        sampler.set_every(0.1)
        assert sampler.every == 0.1
        assert source.reached.wait(20)


def test_every_sample_is_in_the_file_at_once(tmp_path: Path) -> None:
    source = Counting(signal=3)
    with Sampler(tmp_path / "profile", every=0.1, rank=2, sources=[source]) as sampler:
        assert source.reached.wait(20)
        before = gauges_file(tmp_path / "profile", 2).read_text(encoding="utf-8").count("\n")
    assert before >= 2, "a kill loses one sample at most"
    samples = read_profile(tmp_path / "profile").gauge_samples
    assert [sample.values for sample in samples] == [sample.values for sample in sampler.samples]
    assert {sample.rank for sample in samples} == {2}


def test_a_value_that_is_nan_is_absent() -> None:
    source = Counting()
    sampler = Sampler(None, every=0.1, sources=[source])
    run(sampler, source)
    assert all("broken" not in sample.values for sample in sampler.samples)


def test_a_file_is_continued_after_a_kill(tmp_path: Path) -> None:
    """The unfinished last line is dropped; the lines before it stay."""
    gauges_file(tmp_path).write_text('{"time": 1.0, "values": {"memory": 9.0}}\n{"time": 1.5, "val', encoding="utf-8")
    source = Counting()
    run(Sampler(tmp_path, every=0.1, sources=[source]), source)
    assert [sample.values["memory"] for sample in read_profile(tmp_path).gauge_samples][:3] == [9.0, 1.0, 2.0]


def test_a_source_that_fails_is_off_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    broken, whole = Counting(breaks_at=2), Counting(signal=4)
    sampler = Sampler(None, every=0.1, sources=[broken, whole])
    with caplog.at_level(logging.WARNING):
        run(sampler, whole)
    assert sampler.failure == "the gauge source Counting: RuntimeError: the sensor is gone"
    warnings = [record.message for record in caplog.records]
    assert warnings == ["the gauge source Counting failed and is off: RuntimeError: the sensor is gone"]
    assert (broken.samples, broken.closed) == (2, 1)
    assert sampler.samples[-1].values["memory"] == whole.samples


def test_after_a_full_disk_sampling_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gauges_file(tmp_path).symlink_to("/dev/full")
    source = Counting(signal=4)
    sampler = Sampler(tmp_path, every=0.1, sources=[source])
    run(sampler, source)
    assert sampler.failure.startswith("the profiler's writing of gauges: ")
    assert "No space left" in sampler.failure
    assert len(caplog.records) == 1
    assert len(sampler.samples) >= 4


def test_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "profile").write_text("a file stands here")
    source = Counting()
    sampler = Sampler(tmp_path / "profile", every=0.1, sources=[source])
    run(sampler, source)
    assert sampler.failure.startswith("the profiler's writing of gauges: ")
    assert len(sampler.samples) >= 3


def test_a_source_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    released = threading.Event()

    class Hanging(Counting):
        def read(self) -> Mapping[str, float]:
            super().read()
            released.wait(20)
            return {}

    source = Hanging(signal=1)
    sampler = Sampler(None, sources=[source])
    run(sampler, source)
    assert "took longer than 0.05 s" in sampler.failure
    released.set()


def test_memory_keeps_the_newest_samples_and_half_of_the_older_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_MAX_SAMPLES", 6)
    source = Counting(signal=10)
    sampler = Sampler(tmp_path, every=0.1, sources=[source])
    run(sampler, source)
    values = [int(sample.values["memory"]) for sample in sampler.samples]
    assert len(values) <= 6
    assert values[0] == 1
    assert values[-3:] == [source.samples - 2, source.samples - 1, source.samples]
    assert len(read_profile(tmp_path).gauge_samples) == source.samples, "the file keeps all"


def test_stopping_twice_or_before_a_start_does_nothing() -> None:
    sampler = Sampler(None, sources=[Counting()])
    sampler.stop()
    with Sampler(None, sources=[Counting()]) as running:
        running.start()
        running.stop()
    assert running.failure == ""


def test_gauges_of_this_machine_are_sampled(tmp_path: Path) -> None:
    with Sampler(tmp_path, every=0.1) as sampler:
        pause = threading.Event()
        while len(sampler.samples) < 3:
            pause.wait(0.02)
    assert sampler.failure == ""
    names = read_profile(tmp_path).gauges()
    assert {"cpu", "memory", "tree.cpu", "tree.memory"} <= {*names}
