"""Candidates take turns on a copy of the network, each with its own settings, and the machine is left as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clearsight.core.recipe import Recipe
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.execute import make_setup, run_process
from clearsight.workflow.speed.throughput import Candidate, ThroughputComparison, with_settings


@pytest.fixture(scope="module")
def setup(digits: Path) -> RunSetup:
    """A run on the digits, ready to begin."""
    recipe = Recipe().replace(model="tiny", weights="none", batch_size=16, threads=1)
    with run_process(recipe, LaunchContext().world) as placement:
        return make_setup(digits, recipe, placement, LaunchContext())


def test_every_candidate_gets_a_block_a_round(setup: RunSetup) -> None:
    candidates = [
        Candidate(settings=change) for change in ({}, {"workers": 0}, {"channels_last": "off"}, {"batch_size": 32})
    ]
    comparison = ThroughputComparison(setup, largest=32)
    for _ in range(2):
        comparison.round(candidates, 2)
    assert [len(candidate.blocks) for candidate in candidates] == [2, 2, 2, 2]
    assert [block.images for block in candidates[0].blocks] == [32, 32]
    assert [block.images for block in candidates[3].blocks] == [64, 64]
    assert all(each.images_per_second > 0 and 0 <= each.wait_share <= 1 for each in candidates)


def test_the_run_itself_is_not_changed(setup: RunSetup) -> None:
    before = [p.clone() for p in setup.network.model.parameters()]
    threads, sums = torch.get_num_threads(), setup.load_times.sums()
    ThroughputComparison(setup, largest=16).round([Candidate(settings={"threads": 2, "precision": "bf16"})], 1)
    assert all(torch.equal(now, then) for now, then in zip(setup.network.model.parameters(), before, strict=True))
    assert torch.get_num_threads() == threads
    assert setup.load_times.sums() == sums


def test_other_settings_change_the_placement(setup: RunSetup) -> None:
    changed = with_settings(setup, {"channels_last": "off", "precision": "bf16", "threads": 2})
    assert changed.placement.memory_format == torch.contiguous_format
    assert (changed.placement.precision, changed.placement.threads) == ("bf16", 2)
    assert setup.placement.precision == "fp32"


def test_a_candidate_that_does_not_fit_into_memory_is_left_out(
    setup: RunSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("clearsight.workflow.speed.throughput.ThroughputTrial.steps", full)
    large = Candidate(settings={"batch_size": 64})
    comparison = ThroughputComparison(setup, largest=64)
    for _ in range(2):
        comparison.round([large], 1)
    assert large.blocks == []
    assert "memory" in large.note
    assert large.to_json()["images_per_second"] is None


def test_spread_and_median() -> None:
    from clearsight.training.throughput import ThroughputSample

    candidate = Candidate(
        settings={},
        blocks=[
            ThroughputSample(1, 100, 1.0, 0.1),
            ThroughputSample(1, 120, 1.0, 0.1),
            ThroughputSample(1, 110, 1.0, 0.4),
        ],
    )
    assert candidate.images_per_second == 110
    assert candidate.spread == pytest.approx(10 / 110)
    assert candidate.wait_share == pytest.approx(0.2)
