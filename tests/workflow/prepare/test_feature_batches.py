"""Computing the frozen part once changes nothing but the time that it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from clearsight.core.events import NullObserver, RunPlan, RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.train import train

BASE = Recipe().replace(limit=120, image_size=96, batch_size=16, epochs=2, lr=1e-3, threads=1, workers=1)


def trained(data: Path, out: Path, **settings: Any) -> Run:
    paths = Paths(cache=out.parent / "cache", weights=())
    return train(data, out=out, recipe=BASE, launch=LaunchContext(paths=paths), **settings)


def losses(run: Run) -> list[float]:
    return [line["value"] for line in run.metrics() if line["name"] == "loss"]


@pytest.mark.parametrize(
    ("model", "freeze"),
    [("timm/mobilenetv2_100", "backbone"), ("timm/mobilenetv2_100", "4"), ("resnet18", "3")],
)
def test_equals_the_uncached_run(scenes: Path, real_weights: Path, tmp_path: Path, model: str, freeze: str) -> None:
    settings = {"model": model, "freeze": freeze, "weights": str(real_weights) if model.startswith("timm") else "none"}
    # SGD: Adam divides by the gradient's own size and blows rounding in tiny gradients up to full steps.
    settings |= {"optimizer": "sgd", "momentum": 0, "lr": 1e-3}
    cached = trained(scenes, tmp_path / "cached", **settings)
    plain = trained(scenes, tmp_path / "plain", **settings, feature_cache=False)
    assert losses(cached) == pytest.approx(losses(plain), rel=5e-3, abs=1e-3)
    first, second = (load_file(run.bundle / "model.safetensors") for run in (cached, plain))
    worst = max(float(np.abs(first[name].astype(float) - second[name]).max()) for name in first)
    assert worst < 2e-2
    assert cached.scores["test"]["loss"] == pytest.approx(plain.scores["test"]["loss"], rel=2e-2)


def test_the_frozen_part_does_not_move(scenes: Path, real_weights: Path, tmp_path: Path) -> None:
    run = trained(scenes, tmp_path / "run", weights=str(real_weights), freeze="backbone", feature_cache=False)
    before, after = load_file(real_weights), load_file(run.bundle / "model.safetensors")
    moved = [
        n
        for n, tensor in before.items()
        if n in after
        and not n.startswith("classifier")
        and not np.array_equal(tensor.astype(np.float32), after[n].astype(np.float32))
    ]
    assert moved == []


def test_a_second_run_reads_the_features_of_the_first(
    scenes: Path, real_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"weights": str(real_weights), "freeze": "backbone"}
    first = trained(scenes, tmp_path / "first", **settings)

    def never(*_: object) -> None:
        raise AssertionError("the frozen part was computed again")

    monkeypatch.setattr("clearsight.workflow.prepare.feature_batches.fastest_runtime", never)
    second = trained(scenes, tmp_path / "again", **settings)
    assert losses(second) == losses(first)
    other = trained(scenes, tmp_path / "other", **settings, weight_decay=0.5)
    assert losses(other) != losses(first)


def test_augmented_views_are_cached_when_asked_for(scenes: Path, real_weights: Path, tmp_path: Path) -> None:
    settings = {"weights": str(real_weights), "freeze": "backbone", "augment": "light"}
    trained(scenes, tmp_path / "run", **settings, views=2)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "features of the frozen part computed once" in log
    trained(scenes, tmp_path / "plain", **settings, epochs=1)
    assert "--views K keeps K augmented views" in (tmp_path / "plain" / "log.txt").read_text()


class _PlanSeen(NullObserver):
    """Records events in their order: the plan, and the progress of computing features."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.seconds: float | None = None

    def on_plan(self, plan: RunPlan) -> None:
        self.events.append("plan")
        self.seconds = plan.seconds

    def progress(self, activity: str, done: int, total: int) -> None:
        if activity.startswith("features"):
            self.events.append(activity)


def test_the_plan_comes_before_the_features_and_states_their_time(digits: Path, tmp_path: Path) -> None:
    """The second run reads the features from the cache: its plan has no time for them, and there is no progress."""
    recipe = Recipe().replace(model="tiny", weights="none", limit=200, image_size=16, freeze="backbone", epochs=1)
    seen = {}
    for name in ("first", "second"):
        seen[name] = _PlanSeen()
        paths = Paths(cache=tmp_path / "cache", weights=())
        launch = LaunchContext(paths=paths, observers=[seen[name]], progress=seen[name].progress)
        train(digits, out=tmp_path / name, recipe=recipe, launch=launch, debug="off", profile="off", threads=1)
    assert seen["first"].events[0] == "plan"
    assert {"features of train", "features of valid"} <= set(seen["first"].events)
    assert seen["first"].seconds is not None
    assert seen["first"].seconds > 0
    assert (seen["second"].events, seen["second"].seconds) == (["plan"], 0)


def test_features_that_do_not_fit_into_memory_change_nothing_but_the_time(
    scenes: Path, real_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"weights": str(real_weights), "freeze": "backbone", "limit": 40, "optimizer": "sgd", "momentum": 0}
    cached = trained(scenes, tmp_path / "cached", **settings)

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("clearsight.training.feature_cache._Manifest.map", full)
    streamed = trained(scenes, tmp_path / "streamed", **settings)
    assert "note: the features do not fit into memory" in caplog.text
    assert streamed.status is RunStatus.COMPLETED
    assert losses(streamed) == pytest.approx(losses(cached), rel=1e-3)
    assert (streamed.saved_seconds, streamed.scores["valid"].keys()) == (0.0, cached.scores["valid"].keys())
