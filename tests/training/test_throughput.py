"""A throughput trial takes real training steps and keeps only their time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clearsight.training.throughput import ThroughputSample, ThroughputTrial
from tests.training.recording import Recording
from tests.training.test_loop import SIZE, job, network


def throughput_trial(folder: Path, **settings: object) -> tuple[ThroughputTrial, torch.nn.Module]:
    """A trial of a small network's only phase."""
    net = network()
    training_job = job(net, folder, **settings)
    return ThroughputTrial(training_job, training_job.phases[0]), net


def test_takes_the_requested_steps_over_several_epochs(tmp_path: Path) -> None:
    trial, _ = throughput_trial(tmp_path)
    timed = trial.steps(12)  # an epoch has 5
    assert (timed.steps, timed.images) == (12, 12 * SIZE)
    assert 0 < timed.wait_seconds < timed.seconds


def test_continues_for_the_requested_time(tmp_path: Path) -> None:
    trial, _ = throughput_trial(tmp_path)
    timed = trial.steps(1, seconds=0.2)
    assert timed.seconds >= 0.2
    assert timed.steps > 1


def test_steps_are_those_of_training(tmp_path: Path) -> None:
    trial, net = throughput_trial(tmp_path, accumulate=2)
    before = [p.clone() for p in net.parameters()]
    assert trial.steps(2).images == 4 * SIZE
    assert all(not torch.equal(now, then) for now, then in zip(net.parameters(), before, strict=True))


def test_writes_and_announces_nothing(tmp_path: Path) -> None:
    net, seen = network(), Recording()
    training_job = replace(job(net, tmp_path / "run"), observers=[seen])
    ThroughputTrial(training_job, training_job.phases[0]).steps(3)
    assert seen.steps == []
    assert list((tmp_path / "run").iterdir()) == []


def test_loading_alone(tmp_path: Path) -> None:
    trial, net = throughput_trial(tmp_path)
    before = [p.clone() for p in net.parameters()]
    assert trial.load().images == 5 * SIZE
    assert all(torch.equal(now, then) for now, then in zip(net.parameters(), before, strict=True))


def test_a_closed_trial_takes_no_step(tmp_path: Path) -> None:
    trial, _ = throughput_trial(tmp_path)
    trial.steps(1)
    trial.close()
    with pytest.raises(ValueError, match="closed"):
        trial.steps(1)


def test_images_per_second() -> None:
    assert ThroughputSample(10, 320, 2.0, 0.5).images_per_second == 160
