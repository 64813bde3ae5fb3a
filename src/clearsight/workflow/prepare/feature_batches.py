"""Batches of features: the output of the frozen part, computed once, in the order in which the images would come."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
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
from clearsight.training.batches import Batch, FeatureBatches, FeatureTime
from clearsight.training.checkpoint import frozen_digest
from clearsight.training.device import Placement
from clearsight.training.distributed import World
from clearsight.training.feature_cache import CachedFeatures, FeatureKey, FeaturePass, cached_features, is_cached
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
        self._seconds_per_image: float | None = None  # of computing features, once it was measured
        self._digest = f"{network.name} {frozen_digest(self._prefix, {})}"
        self._placement, self._world, self._folder = placement, world, folder

    def batches(self, dataset: Dataset, plan: LoadPlan, views: int, progress: Progress) -> FeatureBatches:
        """Return the features of a split on the device, in the order of `plan`; they are computed when first needed.

        views: augmented copies of each image; 1 where the plan does not augment at random.
        """
        return FeatureBatches(
            SplitFeatures(self, dataset, plan, views if plan.augment.random else 1, progress),
            dataset.labels(),
            tuple(sample.id for sample in dataset.samples),
            Loader(dataset, self._preprocess, plan).order,
            plan.batch_size,
        )

    def stored(self, dataset: Dataset, plan: LoadPlan, views: int, progress: Progress) -> CachedFeatures:
        """Return the features of a split, from the cache or computed now."""
        key = self._key(dataset, plan, views)
        name = f"features of {dataset.samples[0].split}"
        run = FeaturePass(
            count=len(dataset),
            views=views,
            prefix=self._compute,
            view=partial(self._images, dataset, plan),
            progress=partial(progress, name),
            fits_key=lambda: dataset.changed.isdisjoint(sample.id for sample in dataset.samples),
        )
        # One process computes, all read; each computes for itself where the cache cannot be written.
        features = cached_features(self._folder, key, run) if self._world.leads else None
        self._world.wait()
        return features or cached_features(self._folder, key, run)

    def on_device(self, features: CachedFeatures) -> torch.Tensor:
        """Return cached features (V, N, ...) as a tensor on the device; raises MemoryError if they do not fit."""
        try:
            return torch.from_numpy(np.asarray(features.values)).to(self._placement.device)
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error)) from error

    def epoch(self, dataset: Dataset, plan: LoadPlan, number: int, start: int) -> Iterator[Batch]:
        """Yield the batches of an epoch from batch `start` on, with features that are computed now."""
        for batch in Loader(dataset, self._preprocess, plan).epoch(number, start):
            features = torch.from_numpy(self._compute(normalise(batch.images, self._preprocess)))
            labels = torch.from_numpy(batch.labels)
            device = self._placement.device
            yield Batch(features.to(device), labels.to(device), batch.indices, batch.ids)

    def seconds(self, dataset: Dataset, plan: LoadPlan, views: int) -> float:
        """Return how long `stored` will take, from one batch of it; 0 if the features are in the cache."""
        if is_cached(self._folder, self._key(dataset, plan, views)):
            return 0.0
        if self._seconds_per_image is None:
            with closing(self._images(dataset, plan, 0)) as batches:
                self._compute(next(batches)[:2])  # builds the runtime, which is not timed
            start = time.perf_counter()
            with closing(self._images(dataset, plan, 0)) as batches:
                images = next(batches)
                self._compute(images)
            self._seconds_per_image = (time.perf_counter() - start) / len(images)
        return self._seconds_per_image * len(dataset) * views

    def _images(self, dataset: Dataset, plan: LoadPlan, view: int) -> Generator[npt.NDArray[np.float32], None, None]:
        """Yield the normalised images (N, 3, S, S) of one view, in the order of the dataset."""
        # In order and by one process: what is stored must not depend on how a run draws its images.
        in_order = replace(
            plan, order="sequential", rank=0, world=1, memory_bytes=0, batch_size=_COMPUTE_BATCH, drop_last=False
        )
        for batch in Loader(dataset, self._preprocess, in_order).epoch(view + 1):
            yield normalise(batch.images, self._preprocess)

    def _compute(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the features (N, ...) of normalised images (N, 3, S, S)."""
        if self._runtime is None:
            self._runtime = fastest_runtime(self._prefix, images[:2], self._placement.threads)
        return self._runtime(images)

    def _key(self, dataset: Dataset, plan: LoadPlan, views: int) -> FeatureKey:
        preprocess: dict[str, Any] = self._preprocess.model_dump(exclude={"source"})  # a text for people
        images = (s.digest or f"{s.id} {dataset.source.stamp(s.locator)}" for s in dataset.samples)
        return FeatureKey(
            images=hashlib.sha256("\n".join(images).encode()).hexdigest(),
            weights=self._digest,
            preprocess=json.dumps(preprocess),
            cut=self._last_stage,
            # Without random augmentation the seed has no influence, so that runs with other seeds share the entry.
            augment=f"{plan.seed} {plan.augment.model_dump_json()}" if plan.augment.random else "",
            views=views,
        )


@dataclass(frozen=True)
class SplitFeatures:
    """Features of one split, as a source of FeatureBatches. views: augmented copies of each image."""

    reader: FeatureReader
    dataset: Dataset
    plan: LoadPlan
    views: int
    progress: Progress

    def read(self) -> tuple[torch.Tensor, FeatureTime]:
        stored = self.reader.stored(self.dataset, self.plan, self.views, self.progress)
        computed_seconds = stored.pass_seconds * len(stored.values) if stored.computed else 0.0
        return self.reader.on_device(stored), FeatureTime(
            pass_seconds=stored.pass_seconds, computed_seconds=computed_seconds
        )

    def epoch(self, number: int, start: int) -> Iterator[Batch]:
        return self.reader.epoch(self.dataset, replace(self.plan, memory_bytes=0), number, start)

    def seconds(self) -> float:
        return self.reader.seconds(self.dataset, self.plan, self.views)


def feature_batches(phases: Iterable[Phase]) -> list[FeatureBatches]:
    """Return the batches of features among the training and validation batches of some phases."""
    parts = (part for phase in phases for part in (phase.train, phase.valid))
    return [part for part in parts if isinstance(part, FeatureBatches)]


def read_features(phases: Iterable[Phase], epoch: int = 1) -> None:
    """Read or compute the features of all phases now, so that no step waits for them.

    epoch: where the training begins. Phases that ended before it have no use for theirs, and a later phase may have
    changed the weights that they were computed by.
    """
    last = 0
    for phase in phases:
        last += phase.epochs
        if epoch <= last:
            for batches in feature_batches([phase]):
                batches.read()


def saved_feature_seconds(phases: Iterable[Phase], epochs: int) -> float:
    """Return the seconds of forward passes that a run of so many epochs saved by reading features from the cache."""
    saved = 0.0
    for phase in phases:
        trained = min(epochs, phase.epochs)
        epochs -= trained
        if phase.cached and trained:
            times = [part.time for part in feature_batches([phase]) if part.is_read]
            saved += sum(time.pass_seconds * trained - time.computed_seconds for time in times)
    return max(saved, 0.0)
