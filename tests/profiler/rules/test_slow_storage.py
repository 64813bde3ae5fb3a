"""SlowStorage finds slow reading that steps wait for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.core.finding import Finding, Verdict
from clearsight.core.profile import Profile
from clearsight.profiler.rules.slow_storage import SlowStorage
from clearsight.testing.profiles import context_of, profiled
from clearsight.testing.rules import only
from tests.profiler.rules.other_rule_faults import CONTROLS, FAULTS, GAUGES, slow_reading, waiting


def verdict_on(measured: Profile) -> Finding:
    return only(SlowStorage(), profiled(measured))


def test_found_when_a_worker_reads_few_bytes() -> None:
    finding = only(SlowStorage(), FAULTS["SlowStorage"]())
    assert finding.verdict is Verdict.FOUND
    assert finding.value == pytest.approx(12, abs=0.5)
    assert "19 ms an image" in finding.cause
    assert finding.fix == {"keep_pixels": True}
    assert "local disk" in finding.advice


def test_clear_when_bytes_come_fast() -> None:
    assert only(SlowStorage(), CONTROLS["SlowStorage"]()).verdict is Verdict.CLEAR


def test_slow_reading_without_waiting_is_clear() -> None:
    assert verdict_on(slow_reading(data=0.004)).verdict is Verdict.CLEAR


def test_small_files_are_clear() -> None:
    tiny = {"read": 0.016, "decode": 0.01, "collate": 0.01, "images": 32, "bytes": 32 * 2_000}
    assert verdict_on(waiting(load=tiny)).verdict is Verdict.CLEAR


def test_reading_that_is_little_of_the_work_is_clear() -> None:
    load = {"read": 0.1, "decode": 0.8, "images": 32, "bytes": 32 * 60_000}
    assert verdict_on(waiting(load=load)).verdict is Verdict.CLEAR


def test_images_from_memory_are_clear() -> None:
    from_memory = {"read": 0.0, "decode": 0.0, "augment": 0.3, "images": 32, "bytes": 0.0}
    assert verdict_on(waiting(load=from_memory)).verdict is Verdict.CLEAR


def test_cores_that_wait_for_disks_decide_if_reading_is_unknown() -> None:
    finding = verdict_on(waiting(load={}, gauges=GAUGES | {"cpu.iowait": 45.0}))
    assert finding.found
    assert finding.unit == "% of the cores' time"
    assert verdict_on(waiting(load={}, gauges=GAUGES)).verdict is Verdict.CLEAR


def test_the_missing_data_is_named() -> None:
    finding = verdict_on(waiting(load={}, gauges={}))
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert "the bytes that loader workers read are unknown" in finding.cause
    assert verdict_on(slow_reading(steps=10)).verdict is Verdict.NOT_ENOUGH_DATA


def test_a_run_that_keeps_images_gets_advice_alone() -> None:
    slow = slow_reading()
    known = context_of(slow)
    keeping = replace(known, settings={**known.settings, "keep_pixels": True})
    finding = only(SlowStorage(), profiled(slow, context=keeping))
    assert finding.fix == {}
    assert finding.advice
