"""Candidates take turns on a copy of the network, each with its own settings, and the machine is left as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clearsight.core.recipe import Recipe
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.execute import make_setup, run_process
from clearsight.workflow.speed.throughput import Candidate, ThroughputComparison, settings_applied


@pytest.fixture(scope="module")
def setting(digits: Path) -> RunSetup:
    """A run on the digits, ready to begin."""
    recipe = Recipe().replace(model="tiny", weights="none", batch_size=16, threads=1)
    with run_process(recipe, LaunchContext().world) as placement:
        return make_setup(digits, recipe, placement, LaunchContext())


def test_every_candidate_gets_a_block_a_round(setting: RunSetup) -> None:
    field = [Candidate(settings=one) for one in ({}, {"workers": 0}, {"channels_last": "off"}, {"batch_size": 32})]
    stage = ThroughputComparison(setting, largest=32)
    for _ in range(2):
        stage.round(field, 2)
    assert [len(one.blocks) for one in field] == [2, 2, 2, 2]
    assert [block.images for block in field[0].blocks] == [32, 32]
    assert [block.images for block in field[3].blocks] == [64, 64]
    assert all(one.images_per_second > 0 and 0 <= one.waiting <= 1 for one in field)


def test_the_run_itself_is_untouched(setting: RunSetup) -> None:
    before = [p.clone() for p in setting.network.model.parameters()]
    threads, sums = torch.get_num_threads(), setting.load_times.sums()
    ThroughputComparison(setting, largest=16).round([Candidate(settings={"threads": 2, "precision": "bf16"})], 1)
    assert all(torch.equal(now, then) for now, then in zip(setting.network.model.parameters(), before, strict=True))
    assert torch.get_num_threads() == threads
    assert setting.load_times.sums() == sums


def test_settings_decide_where_and_how(setting: RunSetup) -> None:
    changed = settings_applied(setting, {"channels_last": "off", "precision": "bf16", "threads": 2})
    assert changed.placement.memory_format == torch.contiguous_format
    assert (changed.placement.precision, changed.placement.threads) == ("bf16", 2)
    assert setting.placement.precision == "fp32"


def test_what_does_not_fit_is_left_out(setting: RunSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("clearsight.workflow.speed.throughput.Rehearsal.steps", full)
    large = Candidate(settings={"batch_size": 64})
    stage = ThroughputComparison(setting, largest=64)
    for _ in range(2):
        stage.round([large], 1)
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
    assert candidate.waiting == pytest.approx(0.2)
