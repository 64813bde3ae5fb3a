"""DataWait measures the wait for batches, names its cause, and proposes only what the machine has room for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding, Verdict
from clearsight.core.profile import Machine, Profile
from clearsight.profiler.rules.data_wait import DataWait
from clearsight.testing.profiles import (
    CPU_MACHINE,
    GPU_MACHINE,
    context_of,
    healthy_cpu,
    healthy_gpu,
    profile,
    profiled,
)
from clearsight.testing.rules import only
from tests.profiler.rules.other_rule_faults import CONTROLS, FAULTS, GAUGES, waiting

TWO_WORKERS = replace(CPU_MACHINE, workers=2, pixels_kept=False)
FULL_CORES = GAUGES | {"cpu": 97.0}


def verdict_on(measured: Profile, *, ended: bool = True, epochs: int | None = None, **settings: Any) -> Finding:
    known = context_of(measured)
    known = replace(known, epochs=epochs or known.epochs, settings={**known.settings, **settings})
    return only(DataWait(), profiled(measured, context=known, ended=ended))


def machine_with(**setup: Any) -> Machine:
    return replace(TWO_WORKERS, **setup)


def test_found_when_half_of_the_time_is_waiting() -> None:
    finding = only(DataWait(), FAULTS["DataWait"]())
    assert finding.verdict is Verdict.FOUND
    assert finding.value == pytest.approx(50, abs=2)
    assert finding.subject == "decode"
    assert "81 % of their time on decoding, 9.5 ms an image" in finding.cause
    assert "after the first epoch" in finding.cause
    assert finding.fix == {"workers": 4}


def test_clear_when_batches_are_ready() -> None:
    assert only(DataWait(), CONTROLS["DataWait"]()).verdict is Verdict.CLEAR
    assert verdict_on(healthy_gpu()).verdict is Verdict.CLEAR


def test_batches_that_arrive_in_bursts_count() -> None:
    burst = np.tile([0.3, 0.0, 0.0, 0.0], 50)  # four workers, each with its batch at the same time
    assert verdict_on(waiting(data=burst)).value == pytest.approx(27, abs=3)


def test_a_single_long_wait_is_clear() -> None:
    data = np.full(200, 0.004)
    data[170] = 40.0
    assert verdict_on(waiting(data=data)).verdict is Verdict.CLEAR


def test_a_wait_at_the_start_of_every_epoch_counts_and_is_named() -> None:
    data = np.full(200, 0.001)
    data[::50] = 6.0
    finding = verdict_on(waiting(data=data, work=0.1, machine=machine_with(reading="processes", workers=8)))
    assert finding.found
    data = np.full(200, 0.001)
    data[::10] = 1.0
    finding = verdict_on(
        waiting(data=data, work=0.1, per_epoch=10, machine=machine_with(reading="processes", workers=8))
    )
    assert "mostly at the first step of an epoch" in finding.cause
    assert "persistent_workers" in finding.advice


def test_a_wait_in_the_first_epoch_alone_is_clear_afterwards() -> None:
    data = np.where(np.arange(200) < 50, 0.3, 0.002)
    assert verdict_on(waiting(data=data)).verdict is Verdict.CLEAR


def test_the_first_epoch_is_not_enough_if_images_are_kept() -> None:
    first = waiting(steps=50, machine=machine_with(pixels_kept=True))
    finding = verdict_on(first, ended=False, epochs=5)
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert "keeps them in memory" in finding.cause
    assert verdict_on(first, ended=False, epochs=1).found
    assert verdict_on(waiting(steps=50), ended=False, epochs=5).found


@pytest.mark.parametrize(
    ("load", "cause"),
    [
        ({"read": 0.5, "decode": 0.1}, "read"),
        ({"read": 0.1, "decode": 0.1, "augment": 0.4}, "augment"),
        ({"decode": 0.1, "collate": 0.4}, "collate"),
    ],
)
def test_names_the_part_that_takes_most_time(load: dict[str, float], cause: str) -> None:
    finding = verdict_on(waiting(load=load, gauges=FULL_CORES))
    assert finding.subject == cause
    assert finding.fix or finding.advice


def test_slow_storage_is_the_cause_of_slow_reading() -> None:
    assert verdict_on(waiting(load={"read": 0.5, "decode": 0.1})).because == ("SlowStorage",)
    assert verdict_on(waiting()).because == ()


def test_an_unmeasured_part_is_unknown() -> None:
    finding = verdict_on(waiting(load={}, gauges=FULL_CORES))
    assert finding.subject == "unknown part"
    assert "clearsight profile" in finding.advice


def test_a_slow_transfer_to_the_device_is_named() -> None:
    phases = {"data": 0.01, "transfer": 0.1, "forward": 0.04, "backward": 0.05}
    slow = profile(seconds=0.2, phases=phases, machine=GPU_MACHINE)
    finding = verdict_on(slow)
    assert finding.subject == "transfer"
    assert "pinned" in finding.advice


def test_a_wait_while_the_gpu_computes_is_clear() -> None:
    phases = {"data": 0.15, "forward": 0.02, "backward": 0.02}
    busy = {"data": 0.001, "forward": 0.06, "backward": 0.13}
    hidden = profile(seconds=0.2, phases=phases, device=busy, machine=replace(GPU_MACHINE, pixels_kept=False))
    assert verdict_on(hidden).verdict is Verdict.CLEAR
    visible = profile(seconds=0.2, phases=phases, machine=replace(GPU_MACHINE, pixels_kept=False))
    assert verdict_on(visible).found


@pytest.mark.parametrize(
    ("setup", "gauges", "settings", "fix"),
    [
        ({"workers": 2}, GAUGES, {}, {"workers": 4}),
        ({"workers": 6}, GAUGES, {}, {"workers": 8}),
        ({"workers": 0, "reading": "here"}, FULL_CORES, {}, {"workers": 8}),
        ({"workers": 2}, FULL_CORES, {"keep_pixels": False}, {"keep_pixels": True}),
        ({"workers": 2}, FULL_CORES, {"keep_pixels": True}, {}),
        ({"workers": 2}, FULL_CORES, {"keep_pixels": True, "feature_cache": False, "freeze": "backbone"},
         {"feature_cache": True}),
        ({"workers": 8}, GAUGES, {"keep_pixels": True}, {}),
    ],
)  # fmt: skip
def test_the_fix_follows_the_room_on_the_machine(
    setup: dict[str, Any], gauges: dict[str, float], settings: dict[str, Any], fix: dict[str, Any]
) -> None:
    finding = verdict_on(waiting(machine=machine_with(**setup), gauges=gauges), **settings)
    assert finding.fix == fix
    assert finding.fix or finding.advice


def test_an_external_loop_gets_advice() -> None:
    finding = only(DataWait(), profiled(waiting(), context=RunContext(epochs=4)))
    assert finding.fix == {}
    assert "num_workers=4" in finding.advice


def test_evidence_is_the_share_of_every_step() -> None:
    (series,) = verdict_on(waiting()).evidence
    assert series.steps[0] == 4
    assert series.steps[-1] == 200
    assert np.median(series.values) == pytest.approx(50, abs=2)


def test_the_missing_data_is_counted() -> None:
    points = verdict_on(waiting(steps=12)).points
    assert points is not None
    assert (points.have, points.want, points.of) == (9, 20, "timed steps")
    quick = verdict_on(waiting(steps=60, data=0.01, work=0.01)).points
    assert quick is not None
    assert (quick.have, quick.want, quick.of) == (1, 5, "seconds of training")


def test_without_timed_waits_there_is_not_enough_data() -> None:
    assert verdict_on(profile(seconds=0.2, phases={"forward": 0.1})).verdict is Verdict.NOT_ENOUGH_DATA


def test_the_threshold_is_a_parameter() -> None:
    view = profiled(healthy_cpu())
    assert only(DataWait(share=1.0), view).found


def test_rows_of_cached_features_are_no_images_to_wait_for() -> None:
    view = FAULTS["DataWait"]()
    assert only(DataWait(), view).found
    view.context = replace(view.context, cached=True)
    assert not only(DataWait(), view).found
