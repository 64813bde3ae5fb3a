"""Trainings in several threads of one process give the bits that they give one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clearsight.core.recipe import Recipe
from clearsight.models.zoo import ModelSpec, build
from clearsight.training.distributed import World
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.execute import run_process
from clearsight.workflow.train import train

SETTINGS: dict[str, Any] = {
    "model": "tiny",
    "weights": "none",
    "image_size": 16,
    "limit": 120,
    "epochs": 1,
    "batch_size": 8,
    "threads": 1,
    "augment": "light",
    "head": (32,),
    "dropout": 0.5,
    "mixup": 0.2,
    "debug": "off",
    "profile": "off",
}


def in_threads(*actions: Callable[[], object]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_threads_give_the_bits_of_one_after_the_other(
    digits: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def trained(name: str) -> bytes:
        launch = LaunchContext(paths=Paths(cache=tmp_path / "cache", weights=()))
        run = train(digits, out=tmp_path / name, launch=launch, **SETTINGS)
        return (run.bundle / "model.safetensors").read_bytes()

    alone = trained("alone")
    bits: dict[str, bytes] = {}
    in_threads(*(lambda name=name: bits.update({name: trained(name)}) for name in ("first", "second")))  # type: ignore[misc]
    assert bits == {"first": alone, "second": alone}
    assert caplog.messages.count("Another training runs in this process; this one waits until it has ended.") == 1


def test_a_network_that_another_thread_builds_does_not_disturb_a_training(digits: Path, tmp_path: Path) -> None:
    launch = LaunchContext(paths=Paths(cache=tmp_path / "cache", weights=()))
    alone = train(digits, out=tmp_path / "alone", launch=launch, **SETTINGS)
    ended = threading.Event()

    def build_networks() -> None:
        while not ended.is_set():
            build(ModelSpec(model="tiny", classes=3, seed=7))

    builder = threading.Thread(target=build_networks)
    builder.start()
    try:
        beside = train(digits, out=tmp_path / "beside", launch=launch, **SETTINGS)
    finally:
        ended.set()
        builder.join()
    names = [run.bundle / "model.safetensors" for run in (alone, beside)]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_the_threads_of_torch_are_those_of_the_run_that_has_its_turn() -> None:
    before, seen = torch.get_num_threads(), []

    def turn(threads: int) -> None:
        with run_process(Recipe().replace(threads=threads), World()) as placement:
            seen.append(torch.get_num_threads() == placement.threads == threads)

    in_threads(lambda: turn(before + 1), lambda: turn(before + 2))
    assert seen == [True, True]
    assert torch.get_num_threads() == before


def test_a_run_may_prepare_its_process_twice() -> None:
    recipe = Recipe().replace(threads=1)
    with run_process(recipe, World()), run_process(recipe, World()) as placement:
        assert placement.threads == 1
