"""The last batch of an epoch may have one image: BatchNorm cannot train on it where it sees one value per channel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from clearsight.core.errors import BadData, BadValue
from clearsight.core.recipe import Recipe
from clearsight.training.distributed import World
from clearsight.training.job import Phase
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.phases import build_phases, check_batches
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.execute import make_setup, run_process
from clearsight.workflow.run.launch import launch_run
from tests.workflow.colour_images import write_class_folders

# At 32 pixels the last stage of this network has one value per channel and image.
SMALL = {"model": "resnet18", "weights": "none", "image_size": 32, "threads": 1, "epochs": 1, "test_fraction": 0.0}


@pytest.fixture
def eleven(tmp_path: Path) -> Path:
    """Return a dataset with 11 training and 3 validation images."""
    write_class_folders(tmp_path / "data" / "train", {"red": 6, "green": 5})
    write_class_folders(tmp_path / "data" / "valid", {"red": 2, "green": 1}, size=60)
    return tmp_path / "data"


@contextmanager
def setup_of(data: Path, world: World | None = None, **settings: Any) -> Iterator[RunSetup]:
    recipe = Recipe().replace(**{**SMALL, **settings})
    launch = LaunchContext(paths=Paths(cache=data.parent / "cache", weights=()))
    with run_process(recipe, World()) as placement:
        setup = make_setup(data, recipe, placement, launch)
        yield setup if world is None else RunSetup(**{**vars(setup), "world": world})


def sizes(phase: Phase, epoch: int = 1) -> list[int]:
    return [len(batch.labels) for batch in phase.train.epoch(epoch)]


def phases_of(data: Path, **settings: Any) -> list[Phase]:
    with setup_of(data, **settings) as setup:
        return build_phases(setup)


@pytest.mark.parametrize(
    ("batch_size", "expected"), [(10, [10]), (5, [5, 5]), (2, [2] * 5), (4, [4, 4, 3]), (16, [11])]
)
def test_only_a_batch_of_one_image_is_left_out(eleven: Path, batch_size: int, expected: list[int]) -> None:
    [phase] = phases_of(eleven, batch_size=batch_size)
    assert sizes(phase) == expected
    assert phase.train.steps == len(expected)
    assert phase.drops_image == (sum(expected) < 11)


def test_every_epoch_leaves_out_another_image(eleven: Path) -> None:
    [phase] = phases_of(eleven, batch_size=10)
    left_out = {
        next(iter(set(range(11)) - {int(i) for batch in phase.train.epoch(epoch) for i in batch.indices}))
        for epoch in range(1, 9)
    }
    assert len(left_out) > 2


def test_a_validation_batch_may_have_one_image(eleven: Path) -> None:
    [phase] = phases_of(eleven, batch_size=2)
    assert phase.valid is not None
    assert [len(batch.labels) for batch in phase.valid.epoch(1)] == [2, 1]


@pytest.mark.parametrize(
    "settings",
    [
        {"image_size": 64},  # four values per channel and image
        {"model": "tiny", "image_size": 32},
        {"model": "timm/test_vit", "image_size": 160},  # LayerNorm: the values of one image are enough
        {"freeze": "backbone", "feature_cache": False},  # the statistics of a frozen BatchNorm do not change
        {"freeze": "backbone"},
    ],
    ids=lambda settings: ", ".join(f"{name} {value}" for name, value in settings.items()),
)
def test_a_network_that_trains_on_one_image_keeps_every_image(eleven: Path, settings: dict[str, Any]) -> None:
    [phase] = phases_of(eleven, batch_size=10, **settings)
    assert sizes(phase) == [10, 1]
    assert not phase.drops_image


def test_features_of_frozen_stages_below_batch_norm_leave_out_the_image_too(eleven: Path) -> None:
    [phase] = phases_of(eleven, batch_size=10, freeze="3")
    assert phase.cached
    assert sizes(phase) == [10]
    phase.enter()
    phase.train_mode()
    [batch] = phase.train.epoch(1)
    assert phase.model(batch.inputs).shape == (10, 2)


def test_the_head_phase_keeps_every_image(eleven: Path) -> None:
    head, whole = phases_of(eleven, batch_size=10, epochs=2, head_epochs=1)
    assert (sizes(head), sizes(whole)) == ([10, 1], [10])


@pytest.mark.parametrize(("processes", "expected"), [(2, [5]), (3, [4])], ids=["6 each", "4 each"])
def test_every_process_leaves_out_its_single_image(eleven: Path, processes: int, expected: list[int]) -> None:
    for rank in range(processes):
        with setup_of(eleven, World(rank=rank, size=processes), batch_size=5) as setup:
            [phase] = build_phases(setup)
            assert sizes(phase) == expected


def test_batches_of_one_are_refused_before_a_run_folder_exists(eleven: Path, tmp_path: Path) -> None:
    launch = LaunchContext(paths=Paths(cache=tmp_path / "cache", weights=()))
    with pytest.raises(BadValue, match=r"--batch-size 1: BatchNorm cannot train on one image .* Use --batch-size 2"):
        launch_run(eleven, tmp_path / "run", Recipe().replace(**SMALL, batch_size=1), launch)
    assert not (tmp_path / "run").exists()


def test_a_single_training_image_is_refused(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "data" / "train", {"red": 1, "green": 1})
    (tmp_path / "data" / "train" / "green" / "0.png").write_bytes(b"no image")
    write_class_folders(tmp_path / "data" / "valid", {"red": 2, "green": 1}, size=60)
    with setup_of(tmp_path / "data") as setup, pytest.raises(BadData, match="there is one training image"):
        check_batches(setup)


def test_a_check_changes_neither_weights_nor_statistics(eleven: Path) -> None:
    with setup_of(eleven, batch_size=10) as setup:
        before = {name: tensor.clone() for name, tensor in setup.network.model.state_dict().items()}
        check_batches(setup)
        after = setup.network.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_trains_to_its_end(eleven: Path, tmp_path: Path, accumulate: int) -> None:
    recipe = Recipe().replace(**SMALL, batch_size=10, accumulate=accumulate, debug="off", profile="off")
    run = launch_run(eleven, tmp_path / "run", recipe, LaunchContext(paths=Paths(cache=tmp_path / "cache", weights=())))
    assert (run.status.value, len(run.epochs())) == ("completed", 1)
    assert "a different one in each epoch" in run.files.log.read_text()
