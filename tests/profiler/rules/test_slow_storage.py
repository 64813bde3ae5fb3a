"""SlowStorage speaks where bytes come slowly and somebody waits for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.core.finding import Finding, Verdict
from clearsight.core.profile import Profile
from clearsight.profiler.rules.slow_storage import SlowStorage
from clearsight.testing.profiles import profiled, told
from clearsight.testing.rules import only
from tests.profiler.rules.faults_e import CONTROLS, FAULTS, LOOKS, slow_reading, waiting


def judged(measured: Profile) -> Finding:
    return only(SlowStorage(), profiled(measured))


def test_found_when_a_reader_gets_few_bytes() -> None:
    finding = only(SlowStorage(), FAULTS["SlowStorage"]())
    assert finding.verdict is Verdict.FOUND
    assert finding.value == pytest.approx(12, abs=0.5)
    assert "19 ms an image" in finding.cause
    assert finding.fix == {"keep_pixels": True}
    assert "local disk" in finding.advice


def test_clear_when_bytes_come_fast() -> None:
    assert only(SlowStorage(), CONTROLS["SlowStorage"]()).verdict is Verdict.CLEAR


def test_slow_reading_that_nobody_waits_for_is_clear() -> None:
    assert judged(slow_reading(data=0.004)).verdict is Verdict.CLEAR


def test_small_files_are_not_blamed_on_the_disk() -> None:
    tiny = {"read": 0.016, "decode": 0.01, "collate": 0.01, "images": 32, "bytes": 32 * 2_000}
    assert judged(waiting(load=tiny)).verdict is Verdict.CLEAR


def test_reading_that_is_little_of_the_work_is_clear() -> None:
    load = {"read": 0.1, "decode": 0.8, "images": 32, "bytes": 32 * 60_000}
    assert judged(waiting(load=load)).verdict is Verdict.CLEAR


def test_images_out_of_memory_are_clear() -> None:
    kept = {"read": 0.0, "decode": 0.0, "augment": 0.3, "images": 32, "bytes": 0.0}
    assert judged(waiting(load=kept)).verdict is Verdict.CLEAR


def test_cores_that_wait_for_disks_are_a_sign_where_readers_are_unknown() -> None:
    finding = judged(waiting(load={}, gauges=LOOKS | {"cpu.iowait": 45.0}))
    assert finding.found
    assert finding.unit == "% of the cores' time"
    assert judged(waiting(load={}, gauges=LOOKS)).verdict is Verdict.CLEAR


def test_says_how_much_is_missing() -> None:
    finding = judged(waiting(load={}, gauges={}))
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert "what readers read is unknown" in finding.cause
    assert judged(slow_reading(steps=10)).verdict is Verdict.NOT_ENOUGH_DATA


def test_a_run_that_keeps_images_already_is_given_advice_alone() -> None:
    slow = slow_reading()
    known = told(slow)
    keeping = replace(known, settings={**known.settings, "keep_pixels": True})
    finding = only(SlowStorage(), profiled(slow, facts=keeping))
    assert finding.fix == {}
    assert finding.advice
