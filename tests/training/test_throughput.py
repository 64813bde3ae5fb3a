"""A rehearsal makes real steps and leaves nothing but how long they took."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clearsight.training.throughput import ThroughputSample, ThroughputTrial
from tests.training.recording import Recording
from tests.training.test_loop import SIZE, job, network


def rehearsal(folder: Path, **settings: object) -> tuple[ThroughputTrial, torch.nn.Module]:
    """A rehearsal of a small network's only phase."""
    net = network()
    made = job(net, folder, **settings)
    return ThroughputTrial(made, made.phases[0]), net


def test_makes_as_many_steps_as_asked_over_epochs(tmp_path: Path) -> None:
    made, _ = rehearsal(tmp_path)
    timed = made.steps(12)  # an epoch has 5
    assert (timed.steps, timed.images) == (12, 12 * SIZE)
    assert 0 < timed.waited < timed.seconds


def test_goes_on_for_as_long_as_asked(tmp_path: Path) -> None:
    made, _ = rehearsal(tmp_path)
    timed = made.steps(1, seconds=0.2)
    assert timed.seconds >= 0.2
    assert timed.steps > 1


def test_steps_are_those_of_training(tmp_path: Path) -> None:
    made, net = rehearsal(tmp_path, accumulate=2)
    before = [p.clone() for p in net.parameters()]
    assert made.steps(2).images == 4 * SIZE
    assert all(not torch.equal(now, then) for now, then in zip(net.parameters(), before, strict=True))


def test_writes_and_tells_nothing(tmp_path: Path) -> None:
    net, seen = network(), Recording()
    made = replace(job(net, tmp_path / "run"), observers=[seen])
    ThroughputTrial(made, made.phases[0]).steps(3)
    assert seen.steps == []
    assert list((tmp_path / "run").iterdir()) == []


def test_loading_alone(tmp_path: Path) -> None:
    made, net = rehearsal(tmp_path)
    before = [p.clone() for p in net.parameters()]
    assert made.load().images == 5 * SIZE
    assert all(torch.equal(now, then) for now, then in zip(net.parameters(), before, strict=True))


def test_a_closed_one_makes_no_step(tmp_path: Path) -> None:
    made, _ = rehearsal(tmp_path)
    made.steps(1)
    made.close()
    with pytest.raises(ValueError, match="closed"):
        made.steps(1)


def test_images_per_second() -> None:
    assert ThroughputSample(10, 320, 2.0, 0.5).images_per_second == 160
