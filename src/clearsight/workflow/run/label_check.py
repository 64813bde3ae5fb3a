"""Check of a dataset's labels, and of copies in two splits, by the features of a pretrained network."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.dataset import Dataset, Split
from clearsight.core.errors import BadData, BadValue, WeightsUnavailable
from clearsight.core.label_check import LabelCheck
from clearsight.core.recipe import UNTRAINED_MODELS, Recipe
from clearsight.data.label_errors import SimilarPair, check_labels_by_features, similar_pairs
from clearsight.training.distributed import World
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import Progress, valid_plan
from clearsight.workflow.prepare.feature_batches import FeatureReader
from clearsight.workflow.prepare.setup import build_network, override_preprocess
from clearsight.workflow.run.execute import run_process

_LATER: tuple[Split, ...] = ("valid", "test")
_FLAG = "--label-errors"


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureCheck:
    """Result for a dataset. similar: pairs of a training image and one of a later split.  model: whose features."""

    labels: LabelCheck
    similar: tuple[SimilarPair, ...]
    model: str

    def to_json(self) -> dict[str, Any]:
        """Return the keys "label_errors" and "similar" of `clearsight data --json`."""
        return {
            "label_errors": {"model": self.model, **self.labels.to_json()},
            "similar": [asdict(pair) for pair in self.similar],
        }


def check_by_features(data: Dataset, recipe: Recipe, paths: Paths, progress: Progress) -> FeatureCheck:
    """Compute the features of all labelled images, or read them from the cache, and check the labels by them.

    data: without unreadable images, digests set.  recipe: model, weights and input.
    Raises BadValue for random weights, WeightsUnavailable where there are none, BadData for too few labelled images.
    """
    model = recipe.model.model
    if recipe.model.weights == "none" or (recipe.model.weights == "default" and model in UNTRAINED_MODELS):
        problem = f"features of random weights say nothing about labels, and {model} has no other weights here"
        raise BadValue(_FLAG, problem, fix="Pass --weights FILE of a pretrained network, or another --model.")
    labelled = data.only(lambda sample: sample.label is not None and sample.split in ("train", *_LATER))
    features = _features(labelled, recipe, paths, progress)
    paths_of = {split: [sample.id for sample in labelled.split(split).samples] for split in features}
    checked = check_labels_by_features(
        np.concatenate([*features.values()]) if features else np.zeros((0, 1)),
        np.concatenate([labelled.split(split).labels() for split in features]) if features else np.zeros(0, np.int64),
        [path for split in features for path in paths_of[split]],
        data.classes.names,
    )
    if checked is None:
        problem = f"{_FLAG} needs at least two classes with 4 labelled images each"
        raise BadData(data.path or "dataset", problem, fix=f"Leave {_FLAG} out, or add labels.")
    later = [split for split in _LATER if split in features and "train" in features]
    pairs = [
        pair
        for split in later
        for pair in similar_pairs(features["train"], features[split], paths_of["train"], paths_of[split])
    ]
    return FeatureCheck(labels=checked, similar=tuple(sorted(pairs, key=lambda pair: pair.distance)), model=model)


def _features(data: Dataset, recipe: Recipe, paths: Paths, progress: Progress) -> dict[Split, npt.NDArray[Any]]:
    """Return the features (N, ...) of each split that has images."""
    world = World()
    with run_process(recipe, world) as placement:
        try:
            built = build_network(recipe, data.classes.names, paths)
        except WeightsUnavailable as error:  # its fix offers random weights, which are of no use here
            fix = "Put the file there, or pass --weights FILE (with the --model that it is for)."
            raise WeightsUnavailable(error.what, error.problem, fix=fix) from None
        network = built.with_preprocess(override_preprocess(built.preprocess, recipe.data))
        network.model.to(placement.device)
        reader = FeatureReader(network, len(network.stages), placement, world, paths.cache / "features")
        present: list[Split] = [split for split in ("train", *_LATER) if len(data.split(split))]
        plan = valid_plan(recipe, world)
        return {split: reader.stored(data.split(split), plan, 1, progress).values[0] for split in present}
