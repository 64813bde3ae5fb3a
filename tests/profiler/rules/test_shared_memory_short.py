"""SharedMemoryShort adds up the batches that worker processes make ahead, before one of them crashes."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.core.profile import Profile
from clearsight.profiler.rules.shared_memory_short import SharedMemoryShort
from clearsight.testing.profiles import GIB, profiled
from clearsight.testing.rules import only
from tests.profiler.rules.other_rule_faults import CONTROLS, FAULTS, worker_processes


def verdict_on(measured: Profile) -> Finding:
    return only(SharedMemoryShort(), profiled(measured))


def test_severe_when_batches_need_more_than_there_is() -> None:
    finding = only(SharedMemoryShort(), FAULTS["SharedMemoryShort"]())
    assert finding.verdict is Verdict.FOUND
    assert finding.severity is Severity.SEVERE
    assert "bus error" in finding.cause
    assert "--shm-size" in finding.advice


def test_a_warning_when_they_need_more_than_half() -> None:
    finding = verdict_on(worker_processes(shm=0.4 * GIB))
    assert finding.severity is Severity.WARNING
    assert finding.value == pytest.approx(72, abs=1)


def test_clear_with_room() -> None:
    assert only(SharedMemoryShort(), CONTROLS["SharedMemoryShort"]()).verdict is Verdict.CLEAR


@pytest.mark.parametrize("reading", ["threads", "here"])
def test_workers_that_share_memory_anyway_are_clear(reading: str) -> None:
    assert verdict_on(worker_processes(reading=reading, gauges={"shm": 99.0})).verdict is Verdict.CLEAR


def test_found_when_it_was_full() -> None:
    finding = verdict_on(worker_processes(shm=16 * GIB, gauges={"shm": [20.0, 95.0]}))
    assert finding.found
    assert finding.value == pytest.approx(95)
    short = np.full(201, 20.0)
    short[:3] = 95.0
    assert verdict_on(worker_processes(shm=16 * GIB, gauges={"shm": short})).verdict is Verdict.CLEAR


def test_an_unknown_prefetch_is_the_default_of_a_data_loader() -> None:
    assert verdict_on(worker_processes(prefetch=0)).value == verdict_on(worker_processes(prefetch=2)).value


def test_unknown_sizes_are_not_enough_data() -> None:
    unknown = worker_processes(batch_bytes=0)
    assert verdict_on(unknown).verdict is Verdict.NOT_ENOUGH_DATA
    assert verdict_on(worker_processes(batch_bytes=0, gauges={"shm": 10.0})).verdict is Verdict.CLEAR
