"""What trains when: the phases of a run, with pictures or with cached features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from clearsight.core.dataset import Dataset
from clearsight.core.preprocess import PRESETS, Augment
from clearsight.core.recipe import Recipe
from clearsight.data.geometry import normalise, scale_shift
from clearsight.data.loader import Loader, LoadPlan, Order
from clearsight.models.freeze import Frozen, freeze
from clearsight.models.network import Network, parameter_groups
from clearsight.models.runtime import Runtime, fastest
from clearsight.training.batches import Batches, Features, Pictures
from clearsight.training.checkpoint import frozen_digest
from clearsight.training.device import Placement
from clearsight.training.features import FeatureKey, FeaturePass, cached_features
from clearsight.training.job import Phase
from clearsight.training.optim import ParameterGroup
from clearsight.training.world import World
from clearsight.workflow.opening import Progress, workers
from clearsight.workflow.places import Places


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What every phase of a run has in common."""

    network: Network
    recipe: Recipe
    data: Dataset
    placement: Placement
    world: World
    places: Places
    progress: Progress
    small: int = 0  # training pictures whose shorter side is below the network's input

    @cached_property
    def train(self) -> Dataset:
        """The training split."""
        return self.data.split("train")

    @cached_property
    def valid(self) -> Dataset:
        """The validation split, which may be empty."""
        return self.data.split("valid")

    @property
    def augment(self) -> Augment:
        """The recipe's augmentation preset."""
        return PRESETS[self.recipe.data.augment]


def build_phases(setting: Setting) -> list[Phase]:
    """One phase, or two when the recipe trains the head first; what is frozen is computed once where possible."""
    how = setting.recipe
    head_epochs = min(how.train.head_epochs, how.train.passes)
    wanted = freeze(setting.network, how.model.freeze)
    everything = wanted.cut == len(setting.network.stages)
    phases = []
    if head_epochs and not everything:
        rate = how.optim.head_lr or how.optim.peak
        phases.append(_phase(setting, "head", "backbone", head_epochs, head_factor=rate / how.optim.peak))
    rest = how.train.passes - sum(phase.epochs for phase in phases)
    if rest:
        name = "head" if everything else "all" if not wanted.cut else f"from {setting.network.stages[wanted.cut].name}"
        factor = how.optim.backbone_lr_factor if phases else 1.0
        phases.append(_phase(setting, name, how.model.freeze, rest, backbone_factor=factor))
    return phases


def uncacheable(recipe: Recipe, cut: int) -> str:
    """Why the frozen part cannot be computed once, or ""."""
    if not recipe.train.feature_cache:
        return "switched off"
    if not cut:
        return "nothing is frozen"
    if recipe.train.mixup or recipe.train.cutmix:
        return "mixup and cutmix change the pictures before the frozen part"
    if PRESETS[recipe.data.augment].random and recipe.train.views == 1:
        return "augmentation changes the pictures; --views K keeps K augmented views of each"
    return ""


def _phase(
    setting: Setting, name: str, freezing: str, epochs: int, *, backbone_factor: float = 1.0, head_factor: float = 1.0
) -> Phase:
    network = setting.network
    frozen = freeze(network, freezing)
    cached = not uncacheable(setting.recipe, frozen.cut)
    if cached:
        model: nn.Module = network.suffix(frozen.cut)
        train, valid = _feature_batches(setting, frozen)
    else:
        model = network.model
        train, valid = pictures(setting, setting.train, "train"), None
        if len(setting.valid):
            valid = pictures(setting, setting.valid, "eval")

    def enter() -> Sequence[ParameterGroup]:
        freeze(network, freezing)
        return _groups(network, backbone_factor, head_factor)

    def train_mode() -> None:
        model.train()
        frozen.train_mode()

    return Phase(
        name=name,
        epochs=epochs,
        model=model,
        train=train,
        valid=valid,
        enter=enter,
        train_mode=train_mode,
        cached=cached,
    )


def _groups(network: Network, backbone_factor: float, head_factor: float) -> list[ParameterGroup]:
    """Backbone and head, each in weights that decay and biases and norms that do not."""
    parts = ((network.prefix(len(network.stages)), backbone_factor), (network.head, head_factor))
    return [{**group, "lr_factor": factor} for part, factor in parts for group in parameter_groups(part, 1.0)]


def pictures(setting: Setting, dataset: Dataset, mode: str) -> Batches:
    """Batches of pictures, augmented and shuffled for training, in order for evaluation."""
    shift = scale_shift(setting.network.preprocess)
    loader = Loader(dataset, setting.network.preprocess, load_plan(setting, mode))
    return Pictures(loader, shift, setting.placement.device, setting.placement.memory_format)


def load_plan(setting: Setting, mode: str) -> LoadPlan:
    """How pictures of a split are drawn in mode "train" or "eval"."""
    how = setting.recipe
    training = mode == "train"
    shuffle: Order = "balanced" if how.data.sampling == "balanced" else "shuffled"
    return LoadPlan(
        batch_size=how.train.batch_size,
        augment=setting.augment if training else Augment(),
        order=shuffle if training else "sequential",
        seed=how.train.seed,
        workers=workers(how.data),
        max_pixels=how.data.max_pixels,
        rank=setting.world.rank,
        world=setting.world.size,
        memory_bytes=_memory_for_pixels(setting.world),
    )


def _memory_for_pixels(world: World) -> int:
    """A quarter of the memory that is free now, over the processes of this job."""
    import psutil

    return int(psutil.virtual_memory().available // 4 // world.size)


# -- the feature cache ------------------------------------------------------------------------------------------------


def _feature_batches(setting: Setting, frozen: Frozen) -> tuple[Batches, Batches | None]:
    runner = _Prefix(setting, frozen)
    train = _features(setting, setting.train, "train", runner)
    valid = _features(setting, setting.valid, "eval", runner) if len(setting.valid) else None
    return train, valid


def _features(setting: Setting, dataset: Dataset, mode: str, runner: _Prefix) -> Features:
    how = setting.recipe
    augmented = mode == "train" and setting.augment.random
    views = how.train.views if augmented else 1
    plan = load_plan(setting, mode)
    key = FeatureKey(
        pictures=hashlib.sha256("\n".join(s.digest or s.id for s in dataset.samples).encode()).hexdigest(),
        weights=runner.digest,
        preprocess=json.dumps(setting.network.preprocess.model_dump(exclude={"source"})),
        cut=runner.cut,
        augment=f"{how.train.seed} {setting.augment.model_dump_json()}" if augmented else "",
        views=views,
    )
    whole = replace(plan, order="sequential", rank=0, world=1, memory_bytes=0, batch_size=32)
    loader = Loader(dataset, setting.network.preprocess, whole)

    def view(number: int) -> Any:
        return (normalise(b.images, setting.network.preprocess) for b in loader.epoch(number + 1))

    label = f"features of {mode if mode == 'train' else 'valid'}"
    how_computed = FeaturePass(len(dataset), views, runner, view, partial(setting.progress, label))
    if setting.world.leads:  # one process computes, all read
        cached_features(setting.places.cache / "features", key, how_computed)
    setting.world.wait()
    stored = cached_features(setting.places.cache / "features", key, how_computed)
    order = Loader(dataset, setting.network.preprocess, plan).order
    device = setting.placement.device
    tensor = torch.from_numpy(np.asarray(stored)).to(device)
    return Features(tensor, dataset.labels(), tuple(s.id for s in dataset.samples), order, how.train.batch_size)


class _Prefix:
    """The frozen part in its fastest form, made when the first picture has to go through it."""

    def __init__(self, setting: Setting, frozen: Frozen) -> None:
        network = setting.network
        self._prefix, self._threads = network.prefix(frozen.cut), setting.placement.threads
        self._run: Runtime | None = None
        self.cut = network.stages[frozen.cut - 1].name
        self.digest = f"{network.name} {frozen_digest(self._prefix, {})}"

    def __call__(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self._run is None:
            self._run = fastest(self._prefix, images[:2], self._threads)
        return self._run(images)
