"""Sampler: an even pace, and nothing that fails in it reaches the training."""

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
    """A source that counts its looks, tells when there were `signal` of them, and can break at one."""

    def __init__(self, *, signal: int = 3, breaks_at: int = 0, slow: float = 0.0) -> None:
        self.looks, self.closed = 0, 0
        self._signal, self._breaks_at, self._slow = signal, breaks_at, slow
        self.reached, self._never = threading.Event(), threading.Event()

    def read(self) -> Mapping[str, float]:
        self.looks += 1
        if self.looks == self._signal:
            self.reached.set()
        if self.looks == self._breaks_at:
            raise RuntimeError("the sensor came off")
        if self._slow:
            self._never.wait(self._slow)
        return {"memory": float(self.looks), "broken": float("nan")}

    def close(self) -> None:
        self.closed += 1


def run(sampler: Sampler, source: Counting) -> None:
    with sampler:
        assert source.reached.wait(20)


@pytest.mark.parametrize("every", [0.09, 0.0, -1.0, 61.0, float("nan"), float("inf")])
def test_an_interval_out_of_range(every: float) -> None:
    with pytest.raises(BadValue, match=r"0\.1 to 60 s apart"):
        Sampler(None, every=every)
    with pytest.raises(BadValue):
        Sampler(None).set_every(every)


def test_the_first_look_is_at_once_and_the_last_when_it_is_stopped() -> None:
    source = Counting(signal=1)
    sampler = Sampler(None, every=60.0, sources=[source])
    run(sampler, source)
    assert [look.values["memory"] for look in sampler.looks] == [1.0, 2.0]
    assert source.closed == 1
    assert sampler.failure == ""


def test_the_pace_does_not_drift() -> None:
    source = Counting(signal=6, slow=0.06)
    sampler = Sampler(None, every=0.2, sources=[source])
    run(sampler, source)
    times = np.array([look.time for look in sampler.looks[:-1]])
    late = times - times[0] - 0.2 * np.round((times - times[0]) / 0.2)
    assert np.all(np.diff(times) > 0)
    assert np.median(np.abs(late)) < 0.04, "looks stay on the beat, however long each takes"


def test_beats_that_were_missed_are_left_out() -> None:
    source = Counting(signal=3, slow=0.25)
    sampler = Sampler(None, every=0.1, sources=[source])
    run(sampler, source)
    assert np.all(np.diff([look.time for look in sampler.looks[:-1]]) > 0.24)


def test_another_pace_while_it_runs() -> None:
    source = Counting(signal=4)
    with Sampler(None, every=60.0, sources=[source]) as sampler:
        sampler.set_every(0.1)
        assert sampler.every == 0.1
        assert source.reached.wait(20)


def test_every_look_is_in_the_file_at_once(tmp_path: Path) -> None:
    source = Counting(signal=3)
    with Sampler(tmp_path / "profile", every=0.1, rank=2, sources=[source]) as sampler:
        assert source.reached.wait(20)
        before = gauges_file(tmp_path / "profile", 2).read_text(encoding="utf-8").count("\n")
    assert before >= 2, "a kill loses one look at most"
    looks = read_profile(tmp_path / "profile").looks
    assert [look.values for look in looks] == [look.values for look in sampler.looks]
    assert {look.rank for look in looks} == {2}


def test_a_value_that_is_no_number_is_absent() -> None:
    source = Counting()
    sampler = Sampler(None, every=0.1, sources=[source])
    run(sampler, source)
    assert all("broken" not in look.values for look in sampler.looks)


def test_going_on_after_a_kill(tmp_path: Path) -> None:
    """The line that the kill cut short is dropped, those before it stay."""
    gauges_file(tmp_path).write_text('{"time": 1.0, "values": {"memory": 9.0}}\n{"time": 1.5, "val', encoding="utf-8")
    source = Counting()
    run(Sampler(tmp_path, every=0.1, sources=[source]), source)
    assert [look.values["memory"] for look in read_profile(tmp_path).looks][:3] == [9.0, 1.0, 2.0]


def test_a_source_that_fails_is_left_out_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    broken, whole = Counting(breaks_at=2), Counting(signal=4)
    sampler = Sampler(None, every=0.1, sources=[broken, whole])
    with caplog.at_level(logging.WARNING):
        run(sampler, whole)
    assert sampler.failure == "Counting is left out of the gauges: RuntimeError: the sensor came off"
    assert [record.message for record in caplog.records] == [f"profiler: {sampler.failure}"]
    assert (broken.looks, broken.closed) == (2, 1)
    assert sampler.looks[-1].values["memory"] == whole.looks


def test_a_full_disk_ends_the_file_and_not_the_looks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gauges_file(tmp_path).symlink_to("/dev/full")
    source = Counting(signal=4)
    sampler = Sampler(tmp_path, every=0.1, sources=[source])
    run(sampler, source)
    assert "no longer written" in sampler.failure
    assert "No space left" in sampler.failure
    assert len(caplog.records) == 1
    assert len(sampler.looks) >= 4


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "profile").write_text("a file stands here")
    source = Counting()
    sampler = Sampler(tmp_path / "profile", every=0.1, sources=[source])
    run(sampler, source)
    assert "are not written" in sampler.failure
    assert len(sampler.looks) >= 3


def test_a_source_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert "did not answer in time" in sampler.failure
    released.set()


def test_memory_keeps_the_newest_looks_whole_and_thins_the_old(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_KEPT", 6)
    source = Counting(signal=10)
    sampler = Sampler(tmp_path, every=0.1, sources=[source])
    run(sampler, source)
    kept = [int(look.values["memory"]) for look in sampler.looks]
    assert len(kept) <= 6
    assert kept[0] == 1
    assert kept[-3:] == [source.looks - 2, source.looks - 1, source.looks]
    assert len(read_profile(tmp_path).looks) == source.looks, "the file keeps all"


def test_stopping_twice_and_without_a_start() -> None:
    sampler = Sampler(None, sources=[Counting()])
    sampler.stop()
    with Sampler(None, sources=[Counting()]) as running:
        running.start()
        running.stop()
    assert running.failure == ""


def test_this_machine(tmp_path: Path) -> None:
    with Sampler(tmp_path, every=0.1) as sampler:
        pause = threading.Event()
        while len(sampler.looks) < 3:
            pause.wait(0.02)
    assert sampler.failure == ""
    told = read_profile(tmp_path).gauges()
    assert {"cpu", "memory", "tree.cpu", "tree.memory"} <= {*told}
