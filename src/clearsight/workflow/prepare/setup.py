"""RunSetup: a run that is ready to begin: its network and preprocessing, its data, its recipe, and where it runs."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from pydantic import ValidationError

from clearsight.core.dataset import Dataset
from clearsight.core.errors import BadValue
from clearsight.core.preprocess import Preprocess
from clearsight.core.recipe import DataSection, Recipe
from clearsight.data.loader import LoadTimes
from clearsight.models.network import Network
from clearsight.models.zoo import ModelSpec, build
from clearsight.training.device import Placement, autocast
from clearsight.training.distributed import World
from clearsight.training.protocols import NullStopwatch, Stopwatch
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.auto_freeze import FreezeChoice
from clearsight.workflow.prepare.datasets import Progress

_TIMED_IMAGES = 4  # enough to be past fixed costs, few enough not to be noticed


@dataclass(frozen=True, kw_only=True)
class RunSetup:
    """Values that the phases of a run have in common. Functions that use two or three of them take those alone.

    weights_preprocess: what the weights expect, before the recipe's settings change it.
    small_images: training images whose shorter side is below the network's input.
    blank_images: training images that are nearly one colour.
    load_times: of the training images.  duplicates: split -> its images that are in an earlier split too.
    choice: what `--freeze auto` came to; None where the recipe says what is frozen.
    """

    network: Network
    recipe: Recipe
    data: Dataset
    placement: Placement
    world: World
    paths: Paths
    progress: Progress  # quiet on all ranks but the first
    weights_preprocess: Preprocess
    small_images: int = 0
    blank_images: int = 0
    stopwatch: Stopwatch = field(default_factory=NullStopwatch)
    load_times: LoadTimes = field(default_factory=LoadTimes)
    duplicates: Mapping[str, int] = field(default_factory=dict)
    choice: FreezeChoice | None = None

    @cached_property
    def train(self) -> Dataset:
        return self.data.split("train")

    @cached_property
    def valid(self) -> Dataset:
        """The validation split, which may be empty."""
        return self.data.split("valid")


def build_network(recipe: Recipe, classes: Sequence[str], paths: Paths) -> Network:
    """Return the recipe's network for these classes, with the preprocessing of its weights."""
    return build(model_spec(recipe, classes), folders=paths.weights)


def model_spec(recipe: Recipe, classes: Sequence[str]) -> ModelSpec:
    """Return the specification of the recipe's network for these classes."""
    return ModelSpec(
        model=recipe.model.model,
        classes=len(classes),
        class_names=tuple(classes),
        head=recipe.model.head,
        dropout=recipe.model.dropout,
        weights=recipe.model.weights,
        seed=recipe.train.seed,
    )


def override_preprocess(preprocess: Preprocess, section: DataSection) -> Preprocess:
    """Return the weights' preprocessing with the recipe's settings over it. Raises BadValue for impossible values."""
    changes: dict[str, object] = {}
    if section.image_size is not None and section.image_size != preprocess.size:
        # A new size keeps the share of the image that is cropped away: the weights were trained at that zoom.
        share = preprocess.resize / preprocess.size
        changes |= {"size": section.image_size, "resize": round(section.image_size * share)}
    for name in ("mean", "std", "interpolation", "value_range"):
        if (value := getattr(section, name)) is not None:
            changes[name] = value
    if not changes:
        return preprocess
    source = f"{preprocess.source}; {', '.join(sorted(changes))} from the recipe"
    try:
        return Preprocess.model_validate({**preprocess.model_dump(), **changes, "source": source})
    except ValidationError as error:
        raise BadValue("preprocessing", error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def step_seconds(network: Network, placement: Placement) -> float:
    """Return the seconds per image of one training step, with the parameters that are trainable now.

    It is the time of the network alone: neither loading images nor validation is in it. The step is taken on a copy,
    since the statistics of BatchNorm change in a step.
    """
    twin, size = copy.deepcopy(network.model), network.preprocess.size
    images = torch.zeros(_TIMED_IMAGES, 3, size, size, device=placement.device)
    images = images.contiguous(memory_format=placement.memory_format)

    def step() -> None:
        with autocast(placement.device, placement.precision):
            loss = twin(images).float().square().sum()
        loss.backward()
        if placement.device.type == "cuda":
            torch.cuda.synchronize(placement.device)

    step()  # the first step sets up kernels and is not timed
    start = time.perf_counter()
    step()
    return (time.perf_counter() - start) / _TIMED_IMAGES
