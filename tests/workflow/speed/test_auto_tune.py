"""Settings chosen by measuring, on a machine whose speed is known; and a real run that is tuned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from clearsight.core.files import read_json
from clearsight.core.recipe import Recipe
from clearsight.training.throughput import ThroughputSample
from clearsight.workflow.prepare.datasets import loader_workers
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.execute import make_setup, run_process
from clearsight.workflow.speed import auto_tune as tuning
from clearsight.workflow.speed.auto_tune import TUNABLE, apply_auto_tune, auto_tune
from clearsight.workflow.speed.throughput import Candidate, with_settings
from clearsight.workflow.train import train

Speed = Callable[[Mapping[str, Any]], float]


@pytest.fixture(scope="module")
def setup(digits: Path) -> RunSetup:
    """A run on the digits, ready to begin, of 1,257 images."""
    recipe = Recipe().replace(model="tiny", weights="none", batch_size=16)
    with run_process(recipe, LaunchContext().world) as placement:
        return make_setup(digits, recipe, placement, LaunchContext())


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Speed], list[Mapping[str, Any]]]:
    """A machine that trains as fast as a function of the settings says; returns the settings that it was asked for."""

    def install(speed: Speed, wait_share: float = 0.01) -> list[Mapping[str, Any]]:
        measured: list[Mapping[str, Any]] = []

        class KnownSpeeds:
            def __init__(self, setup: RunSetup, *, largest: int) -> None:
                assert largest >= setup.recipe.train.batch_size

            def round(self, candidates: Sequence[Candidate], steps: int, seconds: float = 0.0) -> None:
                for candidate in candidates:
                    measured.append(candidate.settings)
                    candidate.blocks.append(
                        ThroughputSample(steps, 1000, 1000 / speed(candidate.settings), wait_share * 1000)
                    )

        monkeypatch.setattr(tuning, "ThroughputComparison", KnownSpeeds)
        monkeypatch.setattr(tuning, "cores", lambda: 4)
        return measured

    return install


def test_finds_the_best_pair_of_loader_workers_and_threads(setup: RunSetup, machine: Any) -> None:
    measured = machine(lambda settings: 100 + 10 * (settings.get("workers") == 1) + 20 * (settings.get("threads") == 2))
    found = auto_tune(setup, ["workers", "threads"], budget=60)
    assert found.chosen == {"workers": 1, "threads": 2}
    assert {"workers": 0, "threads": 4} in measured
    assert "workers 1" in found.reasons[0]


def test_without_waiting_for_batches_the_loader_workers_stay_as_they_are(setup: RunSetup, machine: Any) -> None:
    measured = machine(lambda settings: 100 + 20 * (settings.get("threads") == 2), wait_share=0.0)
    found = auto_tune(setup, ["workers", "threads"], budget=60)
    assert found.chosen == {"workers": loader_workers(setup.recipe.data), "threads": 2}
    assert len({settings["workers"] for settings in measured}) == 1
    assert "loader workers stay" in found.reasons[0]


def test_a_difference_within_noise_changes_nothing(setup: RunSetup, machine: Any) -> None:
    machine(lambda settings: 100 + (settings.get("workers") == 1) + (settings.get("channels_last") == "off"))
    found = auto_tune(setup, ["workers", "channels_last"], budget=60)
    assert found.chosen["workers"] == loader_workers(setup.recipe.data)
    assert found.chosen["channels_last"] == "on"


@pytest.mark.parametrize(("gain", "chosen"), [(1.03, "fp32"), (1.3, "bf16")])
def test_another_precision_has_to_pay(setup: RunSetup, machine: Any, gain: float, chosen: str) -> None:
    machine(lambda settings: 100 * (gain if settings["precision"] == "bf16" else 1))
    assert auto_tune(setup, ["precision"], budget=60).chosen == {"precision": chosen}


def test_a_batch_grows_while_it_pays_and_steps_are_left(setup: RunSetup, machine: Any) -> None:
    machine(lambda settings: 100 * settings["batch_size"])
    found = auto_tune(setup, ["batch_size"], budget=60)
    assert found.chosen == {"batch_size": 32}  # of 64 an epoch would have 19 steps
    assert "fewer than 20 steps" in " ".join(found.reasons)


def test_given_settings_are_never_changed(setup: RunSetup, machine: Any) -> None:
    measured = machine(lambda settings: 1 + len(settings))
    assert set(auto_tune(setup, ["threads"], budget=60).chosen) == {"threads"}
    assert all(set(settings) == {"threads"} for settings in measured)


def test_measuring_ends_in_time(setup: RunSetup, machine: Any) -> None:
    measured = machine(lambda settings: 100.0)
    found = auto_tune(setup, TUNABLE, budget=0.0)
    assert measured == []
    assert found.chosen == {}
    assert found.reasons[0] == "The time for measuring was over."


@pytest.mark.parametrize(("optimizer", "factor"), [("adamw", 2**0.5), ("sgd", 2.0)])
def test_an_unset_rate_is_scaled_with_the_batch(setup: RunSetup, machine: Any, optimizer: str, factor: float) -> None:
    machine(lambda settings: 100 * settings.get("batch_size", 16))
    changed_setup = with_settings(setup, {"optimizer": optimizer, "lr": 0.01})
    changed, result = apply_auto_tune(changed_setup, {"batch_size", "lr"})
    assert changed.recipe.train.batch_size == 32
    assert changed.recipe.optim.lr == pytest.approx(0.01 * factor, rel=1e-2)
    assert "learning rate" in result.reasons[-1]
    assert "Decoded images are kept in memory" in result.reasons[-2]
    assert apply_auto_tune(changed_setup, {"batch_size"})[0].recipe.optim.lr == 0.01


def test_cached_features_leave_nothing_to_tune(digits: Path, machine: Any) -> None:
    measured = machine(lambda settings: 1.0)
    recipe = Recipe().replace(model="tiny", weights="none", freeze="backbone")
    with run_process(recipe, LaunchContext().world) as placement:
        _, result = apply_auto_tune(make_setup(digits, recipe, placement, LaunchContext()), set(TUNABLE))
    assert measured == []
    assert "nothing to tune" in result.reasons[0]


def test_a_real_run_is_tuned(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_BLOCK", 0.02)
    monkeypatch.setattr(tuning, "_WAIT_SHARE", 0.0)
    threads = torch.get_num_threads()
    settings = {"model": "tiny", "weights": "none", "epochs": 1, "limit": 300, "threads": 1}
    run = train(digits, out=tmp_path / "run", auto_tune=True, **settings)
    stored = read_json(run.path / "auto_tune.json")
    assert run.recipe.train.threads == 1
    assert run.recipe.data.workers == stored["chosen"]["workers"]
    assert not run.recipe.profile.auto_tune  # a run that repeats this recipe need not measure again
    assert {row["settings"].get("workers") for row in stored["rows"]} >= {0, 1}
    assert all(row["images_per_second"] > 0 and row["steps"] > 0 for row in stored["rows"])
    assert "Tuned in" in (run.path / "log.txt").read_text()
    assert torch.get_num_threads() == threads
