"""Synthetic profiles contain the given values, and their times agree."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.profile import Machine, Span
from clearsight.testing.profiles import CPU_MACHINE, START, context_of, healthy_cpu, healthy_gpu, profile, profiled


def test_steps_follow_each_other() -> None:
    table = profile(steps=5, seconds=0.2, per_epoch=2).steps()
    assert table.steps.tolist() == [1, 2, 3, 4, 5]
    assert table.epochs.tolist() == [1, 1, 2, 2, 3]
    assert table.starts - START == pytest.approx([0, 0.2, 0.4, 0.6, 0.8], abs=1e-6)
    assert table.samples.tolist() == [32] * 5


def test_values_are_of_all_steps_of_each_or_spread_over_them() -> None:
    measured = profile(
        steps=4, seconds=[1, 2, 3, 4], phases={"data": 0.5, "forward": [0.1, 0.2]}, padding=[0.3, np.nan]
    )
    assert measured.steps().seconds.tolist() == [1, 2, 3, 4]
    assert measured.phase("data").tolist() == [0.5] * 4
    assert measured.phase("forward").tolist() == [0.1, 0.1, 0.2, 0.2]
    assert np.isnan(measured.steps().padding).tolist() == [False, False, True, True]


def test_nonfinite_ratios_count_as_not_measured() -> None:
    measured = profile(steps=4, phases={"data": [0.1, np.nan]}, gauges={"cpu": [1.0, np.nan]})
    assert [dict(step.phases) for step in measured.step_times] == [{"data": 0.1}, {"data": 0.1}, {}, {}]
    assert len(measured.gauge("cpu")) < len(measured.gauge_samples)


def test_samples_cover_the_run_from_its_launch_to_its_end() -> None:
    measured = profile(steps=100, seconds=0.1, gauges={"cpu": [10, 90]}, every=0.5, initialisation=5)
    times = [sample.time for sample in measured.gauge_samples]
    assert times[0] == START - 5
    assert times[-1] >= START + 10
    assert np.diff(times) == pytest.approx(0.5)
    inside = measured.within(measured.gauge("cpu")).values
    assert sorted(set(inside)) == [10, 90]
    assert measured.gauge("cpu").values[:10].tolist() == [10] * 10


def test_without_gauges_there_are_no_samples() -> None:
    assert not profile().gauge_samples


def test_pauses_lie_between_steps_and_later_steps_wait() -> None:
    measured = profile(steps=4, seconds=1, pauses={"validation": {2: 3.0}, "checkpoint": {2: 0.5}}, per_epoch=2)
    assert measured.steps().starts - START == pytest.approx([0, 1, 5.5, 6.5])
    (validation,), (checkpoint,) = measured.spans("validation"), measured.spans("checkpoint")
    assert (validation.start - START, validation.seconds, validation.step, validation.epoch) == (2, 3.0, 2, 1)
    assert checkpoint.start - START == 5


def test_the_start_is_a_span_and_others_are_unchanged() -> None:
    other = Span(name="finalisation", start=START + 99, seconds=1.0)
    measured = profile(initialisation=7, spans=[other])
    assert [span.seconds for span in measured.spans("initialisation")] == [7]
    assert measured.spans("finalisation") == [other]
    assert measured.machine.launched == START - 7
    assert not profile(initialisation=0).spans("initialisation")


def test_the_machine_can_be_passed() -> None:
    assert profile(every=2.0).machine.interval == 2.0
    assert profile(every=2.0, machine=Machine(interval=1.0)).machine.interval == 1.0
    assert profile().machine.cores == CPU_MACHINE.cores


def test_noise_is_seeded_and_keeps_phases_in_their_step() -> None:
    noisy = [profile(phases={"forward": 0.09}, gauges={"cpu": 99.0}, noise=0.1, seed=s) for s in (1, 1, 2)]
    assert (noisy[0].steps().seconds == noisy[1].steps().seconds).all()
    assert (noisy[0].steps().seconds != noisy[2].steps().seconds).any()
    assert (noisy[0].phase("forward") <= noisy[0].steps().seconds).all()
    assert noisy[0].gauge("cpu").values.max() <= 100


def test_a_tape_has_the_context_of_the_profile() -> None:
    measured = profile(steps=100, per_epoch=40, samples=16)
    tape = profiled(measured, ended=False)
    assert tape.profile is measured
    assert not tape.ended
    assert tape.context == context_of(measured)
    assert (tape.context.steps, tape.context.epochs, tape.context.steps_per_epoch, tape.context.train_size) == (
        100,
        3,
        40,
        640,
    )
    assert tape.context.settings["workers"] == CPU_MACHINE.workers
    assert profiled(measured, context=RunContext(lr=0.1)).context == RunContext(lr=0.1)


def test_a_run_without_steps_is_possible() -> None:
    measured = profile(steps=0, gauges={"cpu": 5})
    assert len(measured.steps()) == 0
    assert measured.gauge_samples
    assert profiled(measured).context.steps == 0


def test_healthy_runs_are_what_their_names_say() -> None:
    assert healthy_cpu().devices() == ("tree.cpu",)
    assert healthy_gpu(gpus=2).devices() == ("gpu0", "gpu1")
    for measured in (healthy_cpu(), healthy_gpu()):
        phase_seconds = sum(measured.phase(name) for name in measured.phases())
        assert (phase_seconds <= measured.steps().seconds + 1e-9).all()
        assert measured.machine.threads <= measured.machine.cores
