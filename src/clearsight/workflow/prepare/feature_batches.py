"""Batches of features: the output of the frozen part, computed once, in the order in which the images would come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from clearsight.core.dataset import Dataset
from clearsight.data.geometry import normalise
from clearsight.data.loader import Loader, LoadPlan
from clearsight.models.network import Network
from clearsight.models.runtime import PrefixRuntime, fastest_runtime
from clearsight.training.batches import FeatureBatches, FeatureTime
from clearsight.training.checkpoint import frozen_digest
from clearsight.training.device import Placement
from clearsight.training.distributed import World
from clearsight.training.feature_cache import CachedFeatures, FeatureKey, FeaturePass, cached_features
from clearsight.training.job import Phase
from clearsight.workflow.prepare.datasets import Progress

_COMPUTE_BATCH = 32  # images; larger batches are not faster through the runtimes of `models.runtime`


class FeatureReader:
    """Reads the output of the first stages of a network from a cache folder; what is missing is computed first.

    cut: number of stages, at least 1. They run in their fastest form, which is built for the first image that needs it.
    """

    def __init__(self, network: Network, cut: int, placement: Placement, world: World, folder: Path) -> None:
        self._preprocess, self._last_stage = network.preprocess, network.stages[cut - 1].name
        self._prefix = network.prefix(cut)
        self._runtime: PrefixRuntime | None = None
        self._digest = f"{network.name} {frozen_digest(self._prefix, {})}"
        self._placement, self._world, self._folder = placement, world, folder

    def batches(self, dataset: Dataset, plan: LoadPlan, views: int, progress: Progress) -> FeatureBatches:
        """Return the features of a split on the device, in the order of `plan`.

        views: augmented copies of each image; 1 where the plan does not augment at random.
        """
        stored, computed = self._stored(dataset, plan, views if plan.augment.random else 1, progress)
        return FeatureBatches(
            torch.from_numpy(np.asarray(stored.values)).to(self._placement.device),
            dataset.labels(),
            tuple(sample.id for sample in dataset.samples),
            Loader(dataset, self._preprocess, plan).order,
            plan.batch_size,
            time=FeatureTime(
                pass_seconds=stored.pass_seconds,
                computed_seconds=stored.pass_seconds * len(stored.values) if computed else 0.0,
            ),
        )

    def _stored(self, dataset: Dataset, plan: LoadPlan, views: int, progress: Progress) -> tuple[CachedFeatures, bool]:
        """Return the cached features, and True if they were computed just now."""
        key = self._key(dataset, plan, views)
        # In order and by one process: what is stored must not depend on how a run draws its images.
        in_order = replace(plan, order="sequential", rank=0, world=1, memory_bytes=0, batch_size=_COMPUTE_BATCH)
        loader = Loader(dataset, self._preprocess, in_order)

        def view(number: int) -> Iterator[npt.NDArray[np.float32]]:
            return (normalise(batch.images, self._preprocess) for batch in loader.epoch(number + 1))

        name = f"features of {dataset.samples[0].split}"
        run = FeaturePass(len(dataset), views, self._compute, view, partial(progress, name))
        computed = False
        if self._world.leads:  # one process computes, all read
            computed = cached_features(self._folder, key, run).computed
        self._world.wait()
        return cached_features(self._folder, key, run), computed

    def _compute(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the features (N, ...) of normalised images (N, 3, S, S)."""
        if self._runtime is None:
            self._runtime = fastest_runtime(self._prefix, images[:2], self._placement.threads)
        return self._runtime(images)

    def _key(self, dataset: Dataset, plan: LoadPlan, views: int) -> FeatureKey:
        preprocess: dict[str, Any] = self._preprocess.model_dump(exclude={"source"})  # a text for people
        return FeatureKey(
            images=hashlib.sha256("\n".join(s.digest or s.id for s in dataset.samples).encode()).hexdigest(),
            weights=self._digest,
            preprocess=json.dumps(preprocess),
            cut=self._last_stage,
            # Without random augmentation the seed has no influence, so that runs with other seeds share the entry.
            augment=f"{plan.seed} {plan.augment.model_dump_json()}" if plan.augment.random else "",
            views=views,
        )


def saved_feature_seconds(phases: Iterable[Phase], epochs: int) -> float:
    """Return the seconds of forward passes that a run of so many epochs saved by reading features from the cache."""
    saved = 0.0
    for phase in phases:
        trained = min(epochs, phase.epochs)
        epochs -= trained
        if phase.cached and trained:
            parts = [part for part in (phase.train, phase.valid) if isinstance(part, FeatureBatches)]
            saved += sum(part.time.pass_seconds * trained - part.time.computed_seconds for part in parts)
    return max(saved, 0.0)
