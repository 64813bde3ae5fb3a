"""What measuring decides, on a machine whose speed is known; and that a real run is tuned and says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from clearsight.core.files import read_json
from clearsight.core.recipe import Recipe
from clearsight.training.throughput import ThroughputSample
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.execute import make_setup, run_process
from clearsight.workflow.speed import auto_tune as tuning
from clearsight.workflow.speed.auto_tune import TUNABLE, apply_auto_tune, auto_tune
from clearsight.workflow.speed.throughput import Candidate
from clearsight.workflow.train import fit

Speed = Callable[[Mapping[str, Any]], float]


@pytest.fixture(scope="module")
def setting(digits: Path) -> RunSetup:
    """A run on the digits, ready to begin, of 1,257 images."""
    recipe = Recipe().replace(model="tiny", weights="none", batch_size=16)
    with run_process(recipe, LaunchContext().world) as placement:
        return make_setup(digits, recipe, placement, LaunchContext())


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Speed], list[Mapping[str, Any]]]:
    """A machine that trains as fast as a function of the settings says; what it was asked to try."""

    def install(speed: Speed, waited: float = 0.01) -> list[Mapping[str, Any]]:
        asked: list[Mapping[str, Any]] = []

        class Stage:
            def __init__(self, setting: RunSetup, *, largest: int) -> None:
                assert largest >= setting.recipe.train.batch_size

            def round(self, candidates: Sequence[Candidate], steps: int, seconds: float = 0.0) -> None:
                for candidate in candidates:
                    asked.append(candidate.settings)
                    candidate.blocks.append(
                        ThroughputSample(steps, 1000, 1000 / speed(candidate.settings), waited * 1000)
                    )

        monkeypatch.setattr(tuning, "Rehearsals", Stage)
        monkeypatch.setattr(tuning, "cores", lambda: 4)
        return asked

    return install


def test_finds_the_best_pair_of_readers_and_threads(setting: RunSetup, machine: Any) -> None:
    asked = machine(lambda how: 100 + 10 * (how.get("workers") == 1) + 20 * (how.get("threads") == 2))
    found = auto_tune(setting, ["workers", "threads"], budget=60)
    assert found.chosen == {"workers": 1, "threads": 2}
    assert {"workers": 0, "threads": 4} in asked
    assert "workers 1" in found.reasons[0]


def test_readers_that_are_never_waited_for_are_left_alone(setting: RunSetup, machine: Any) -> None:
    asked = machine(lambda how: 100 + 20 * (how.get("threads") == 2), waited=0.0)
    found = auto_tune(setting, ["workers", "threads"], budget=60)
    assert found.chosen == {"workers": tuning.workers(setting.recipe.data), "threads": 2}
    assert len({settings["workers"] for settings in asked}) == 1
    assert "readers stay" in found.reasons[0]


def test_a_difference_within_noise_changes_nothing(setting: RunSetup, machine: Any) -> None:
    machine(lambda how: 100 + (how.get("workers") == 1) + (how.get("channels_last") == "off"))
    found = auto_tune(setting, ["workers", "channels_last"], budget=60)
    assert found.chosen["workers"] == tuning.workers(setting.recipe.data)
    assert found.chosen["channels_last"] == "on"


@pytest.mark.parametrize(("gain", "chosen"), [(1.03, "fp32"), (1.3, "bf16")])
def test_other_arithmetic_has_to_pay(setting: RunSetup, machine: Any, gain: float, chosen: str) -> None:
    machine(lambda how: 100 * (gain if how["precision"] == "bf16" else 1))
    assert auto_tune(setting, ["precision"], budget=60).chosen == {"precision": chosen}


def test_a_batch_grows_while_it_pays_and_steps_are_left(setting: RunSetup, machine: Any) -> None:
    machine(lambda how: 100 * how["batch_size"])
    found = auto_tune(setting, ["batch_size"], budget=60)
    assert found.chosen == {"batch_size": 32}  # of 64 an epoch would have 19 steps
    assert "fewer than 20 steps" in " ".join(found.reasons)


def test_what_was_said_is_never_tried(setting: RunSetup, machine: Any) -> None:
    asked = machine(lambda how: 1 + len(how))
    assert set(auto_tune(setting, ["threads"], budget=60).chosen) == {"threads"}
    assert all(set(settings) == {"threads"} for settings in asked)


def test_measuring_ends_in_time(setting: RunSetup, machine: Any) -> None:
    asked = machine(lambda how: 100.0)
    found = auto_tune(setting, TUNABLE, budget=0.0)
    assert asked == []
    assert found.chosen == {}
    assert found.reasons[0] == "The time for measuring was over."


@pytest.mark.parametrize(("optimizer", "factor"), [("adamw", 2**0.5), ("sgd", 2.0)])
def test_the_rate_goes_with_the_batch(setting: RunSetup, machine: Any, optimizer: str, factor: float) -> None:
    machine(lambda how: 100 * how.get("batch_size", 16))
    mine = tuning.settings_applied(setting, {"optimizer": optimizer, "lr": 0.01})
    changed, told = apply_auto_tune(mine, {"batch_size", "lr"})
    assert changed.recipe.train.batch_size == 32
    assert changed.recipe.optim.lr == pytest.approx(0.01 * factor, rel=1e-2)
    assert "learning rate" in told.reasons[-1]
    assert "Decoded images are kept in memory" in told.reasons[-2]
    assert apply_auto_tune(mine, {"batch_size"})[0].recipe.optim.lr == 0.01


def test_cached_features_leave_nothing_to_tune(digits: Path, machine: Any) -> None:
    asked = machine(lambda how: 1.0)
    recipe = Recipe().replace(model="tiny", weights="none", freeze="backbone")
    with run_process(recipe, LaunchContext().world) as placement:
        _, told = apply_auto_tune(make_setup(digits, recipe, placement, LaunchContext()), set(TUNABLE))
    assert asked == []
    assert "nothing to tune" in told.reasons[0]


def test_a_real_run_is_tuned_and_says_how(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_BLOCK", 0.02)
    monkeypatch.setattr(tuning, "_WAITING", 0.0)
    threads = torch.get_num_threads()
    settings = {"model": "tiny", "weights": "none", "epochs": 1, "limit": 300, "threads": 1}
    run = fit(digits, out=tmp_path / "run", auto_tune=True, **settings)
    told = read_json(run.path / "auto_tune.json")
    assert run.recipe.train.threads == 1
    assert run.recipe.data.workers == told["chosen"]["workers"]
    assert not run.recipe.profile.auto_tune  # who goes on with this recipe need not measure again
    assert {row["settings"].get("workers") for row in told["rows"]} >= {0, 1}
    assert all(row["images_per_second"] > 0 and row["steps"] > 0 for row in told["rows"])
    assert "Tuned in" in (run.path / "log.txt").read_text()
    assert torch.get_num_threads() == threads
