"""Batches of features: what is frozen, computed once, in the order in which the images would have come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from clearsight.core.dataset import Dataset
from clearsight.data.geometry import normalise
from clearsight.data.loader import Loader
from clearsight.models.freeze import FrozenStages
from clearsight.models.runtime import PrefixRuntime, fastest_runtime
from clearsight.training.batches import Batches, FeatureBatches
from clearsight.training.checkpoint import frozen_digest
from clearsight.training.feature_cache import FeatureKey, FeaturePass, cached_features
from clearsight.training.job import Phase
from clearsight.workflow.prepare.image_batches import load_plan
from clearsight.workflow.prepare.setup import RunSetup


def feature_batches(setting: RunSetup, frozen: FrozenStages) -> tuple[Batches, Batches | None]:
    """Training and validation features behind the frozen stages, from the cache or computed now."""
    runner = _Prefix(setting, frozen)
    train = _features(setting, setting.train, "train", runner)
    valid = _features(setting, setting.valid, "eval", runner) if len(setting.valid) else None
    return train, valid


def _features(setting: RunSetup, dataset: Dataset, mode: str, runner: _Prefix) -> FeatureBatches:
    how = setting.recipe
    augmented = mode == "train" and setting.augment.random
    views = how.train.views if augmented else 1
    plan = load_plan(setting, mode)
    key = FeatureKey(
        images=hashlib.sha256("\n".join(s.digest or s.id for s in dataset.samples).encode()).hexdigest(),
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
    computed = False
    if setting.world.leads:  # one process computes, all read
        computed = cached_features(setting.places.cache / "features", key, how_computed).computed
    setting.world.wait()
    stored = cached_features(setting.places.cache / "features", key, how_computed)
    order = Loader(dataset, setting.network.preprocess, plan).order
    device = setting.placement.device
    tensor = torch.from_numpy(np.asarray(stored.values)).to(device)
    ids = tuple(s.id for s in dataset.samples)
    cost, paid = stored.pass_seconds, stored.pass_seconds * views if computed else 0.0
    return FeatureBatches(tensor, dataset.labels(), ids, order, how.train.batch_size, cost=cost, paid=paid)


def saved_feature_seconds(phases: Iterable[Phase], epochs: int) -> float:
    """Seconds of forward passes that so many epochs did not make, because the features were there already."""
    spared = 0.0
    for phase in phases:
        done = min(epochs, phase.epochs)
        epochs -= done
        if phase.cached and done:
            parts = [part for part in (phase.train, phase.valid) if isinstance(part, FeatureBatches)]
            spared += sum(part.cost * done - part.paid for part in parts)
    return max(spared, 0.0)


class _Prefix:
    """The frozen part in its fastest form, made when the first image has to go through it."""

    def __init__(self, setting: RunSetup, frozen: FrozenStages) -> None:
        network = setting.network
        self._prefix, self._threads = network.prefix(frozen.cut), setting.placement.threads
        self._run: PrefixRuntime | None = None
        self.cut = network.stages[frozen.cut - 1].name
        self.digest = f"{network.name} {frozen_digest(self._prefix, {})}"

    def __call__(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self._run is None:
            self._run = fastest_runtime(self._prefix, images[:2], self._threads)
        return self._run(images)
