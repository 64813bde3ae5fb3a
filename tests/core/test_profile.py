"""A profile gives measurements as columns; a column that was not measured is empty, never zero."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.profile import GaugeSample, Machine, Profile, Span, StepTimes, Trace

START = 1_700_000_000.0


def steps(count: int, *, rank: int = 0) -> list[StepTimes]:
    """Steps of 0.1 s, one after the other, half of each spent waiting for data."""
    return [
        StepTimes(
            step=i + 1,
            epoch=i // 4 + 1,
            start=START + i / 10,
            seconds=0.1,
            samples=8,
            phases={"data": 0.05, "forward": 0.02},
            load={"decode": 0.04, "images": 8.0},
            rank=rank,
        )
        for i in range(count)
    ]


def samples(*names: str, count: int = 5) -> list[GaugeSample]:
    """One sample every 0.2 s from the first step on."""
    return [GaugeSample(time=START + i / 5, values=dict.fromkeys(names, 10.0 * i)) for i in range(count)]


def test_an_empty_profile_has_empty_columns() -> None:
    empty = Profile()
    assert not empty
    assert empty.machine == Machine()
    assert len(empty.steps()) == len(empty.gauge("cpu")) == len(empty.phase("data")) == len(empty.load("read")) == 0
    assert empty.devices() == empty.gauges() == empty.phases() == empty.ranks() == ()
    assert empty.step_at(START) == 0
    assert len(empty.within(empty.gauge("cpu"))) == 0


def test_steps_are_columns_of_one_rank() -> None:
    profile = Profile(step_times=[*steps(8), *steps(3, rank=1)])
    table = profile.steps()
    assert table.steps.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert table.epochs.tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    assert np.isnan(table.padding).all()
    assert len(profile.steps(1)) == 3
    assert profile.ranks() == (0, 1)


def test_a_phase_that_was_not_timed_is_nan() -> None:
    profile = Profile(step_times=steps(3))
    assert profile.phase("data") == pytest.approx([0.05] * 3)
    assert np.isnan(profile.phase("backward")).all()
    assert np.isnan(profile.phase("data", device=True)).all()
    assert profile.load("decode") == pytest.approx([0.04] * 3)
    assert profile.phases() == ("data", "forward")


def test_phases_come_in_the_order_of_a_step() -> None:
    step = StepTimes(step=1, epoch=1, start=0, seconds=1, phases={"custom": 0.1, "backward": 0.2, "data": 0.3})
    assert Profile(step_times=[step]).phases() == ("data", "backward", "custom")


def test_a_gauge_leaves_out_samples_without_it() -> None:
    broken = GaugeSample(time=START + 9, values={"cpu": float("nan"), "swap": 1.0})
    profile = Profile(gauge_samples=[*samples("cpu"), broken])
    assert profile.gauge("cpu").values.tolist() == [0, 10, 20, 30, 40]
    assert profile.gauge("swap").values.tolist() == [1.0]
    assert profile.gauges() == ("cpu", "swap")


@pytest.mark.parametrize(
    ("names", "devices"),
    [
        (("cpu", "tree.cpu"), ("tree.cpu",)),
        (("cpu",), ("cpu",)),
        (("cpu", "gpu0", "gpu0.memory", "gpu1"), ("gpu0", "gpu1")),
        (("memory",), ()),
    ],
)
def test_the_device_is_the_gpu_else_the_cores_in_use_by_the_job(
    names: tuple[str, ...], devices: tuple[str, ...]
) -> None:
    assert Profile(gauge_samples=samples(*names)).devices() == devices


def test_within_is_between_the_first_and_the_last_step() -> None:
    before, after = GaugeSample(time=START - 1, values={"cpu": 1.0}), GaugeSample(time=START + 5, values={"cpu": 2.0})
    profile = Profile(gauge_samples=[before, *samples("cpu"), after], step_times=steps(10))
    assert profile.within(profile.gauge("cpu")).values.tolist() == [0, 10, 20, 30, 40]


def test_step_at_a_time() -> None:
    profile = Profile(step_times=steps(4))
    assert [profile.step_at(START + t) for t in (-1, 0, 0.15, 99)] == [0, 1, 2, 4]


def test_until_cuts_steps_samples_spans_and_trace() -> None:
    spans = [
        Span(name="initialisation", start=START - 3, seconds=3),
        Span(name="validation", start=START + 9, seconds=1),
    ]
    trace = Trace(first=5, last=8, seconds=0.4)
    whole = Profile(gauge_samples=samples("cpu"), step_times=steps(8), spans=spans, trace=trace)
    half = whole.until(4)
    assert half.steps().steps.tolist() == [1, 2, 3, 4]
    assert half.gauge("cpu").values.tolist()[:2] == [0, 10]
    assert half.gauge("cpu").times.max() <= START + 0.4 + 1e-6
    assert [span.name for span in half.all_spans] == ["initialisation"]
    assert half.trace is None
    assert whole.until(8).trace == trace
    assert whole.until(99) is whole


def test_machine_is_read_from_json_also_of_a_newer_version() -> None:
    machine = Machine(cores=2, threads=4, workers=1, reading="threads", channels_last=True)
    assert Machine.from_json({**machine.to_json(), "quantum": 1}) == machine


def test_traced_steps() -> None:
    assert Trace(first=12, last=17, seconds=1.0).steps == 6


def test_the_names_of_earlier_versions_are_accepted() -> None:
    profile = Profile(
        gauge_samples=samples("cpu"), step_times=steps(3), spans=[Span(name="validation", start=1, seconds=1)]
    )
    assert getattr(profile, "looks") is profile.gauge_samples  # noqa: B009
    assert getattr(profile, "timed") is profile.step_times  # noqa: B009
    assert getattr(profile, "stretches") is profile.all_spans  # noqa: B009
    assert not hasattr(profile, "unknown")
