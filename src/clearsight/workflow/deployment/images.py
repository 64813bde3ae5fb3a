"""Images that exported models are compared, calibrated and measured on: of the training, or of a given dataset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clearsight.core.bundle import Bundle
from clearsight.core.dataset import Dataset
from clearsight.core.errors import BadData, ClearsightError, EmptyInput, NotFound
from clearsight.core.preprocess import Preprocess
from clearsight.core.recipe import DataSection, Recipe
from clearsight.data.loader import Loader, LoadPlan
from clearsight.data.readers import check_path, open_listing
from clearsight.data.scan import drop_bad_images
from clearsight.data.splits import evaluation_split, has_splits, make_evaluation_splits
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import Progress, list_dataset, loader_workers, read_options, scan_dataset

Pixels = npt.NDArray[np.uint8]

_FEWEST_CALIBRATION = 10  # fewer images say too little about the range of an activation


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Images to compare on, and images of the same dataset that the network was trained on.

    source: where the former come from, for people.
    """

    compared: Dataset
    training: Dataset
    section: DataSection
    source: str

    def batches(
        self, dataset: Dataset, preprocess: Preprocess, size: int
    ) -> Iterator[tuple[Pixels, npt.NDArray[np.int64]]]:
        """Yield images (N, S, S, 3) uint8 of the network's size with labels (N,), N at most `size`."""
        workers = max(1, loader_workers(self.section) // 2)  # inference needs cores too
        plan = LoadPlan(batch_size=size, workers=workers, max_pixels=self.section.max_pixels)
        for batch in Loader(dataset, preprocess, plan).epoch(1):
            yield batch.images, batch.labels


def images_of_training(bundle: Bundle, flag: str, paths: Paths, progress: Progress) -> LabelledImages:
    """Return the validation and training images of the dataset that the bundle was trained on.

    flag: that takes another dataset, for the errors. Raises NotFound, BadData and EmptyInput where they are not there.
    """
    recipe, path = Recipe.parse(bundle.recipe), Path(str(bundle.data.get("path") or ""))
    fix = f"Pass {flag} PATH with labelled images."
    if not bundle.data.get("path") or not path.exists():
        where = f"the images of the training are not at {path}" if bundle.data.get("path") else "it names no dataset"
        raise NotFound(str(bundle.path), where, fix=fix)
    try:
        listed = list_dataset(path, recipe.data, recipe.train.seed)
    except ClearsightError as error:
        raise BadData(str(path), f"the images of the training cannot be listed any more ({error})", fix=fix) from error
    if listed.classes != bundle.class_map:
        raise BadData(str(path), "it has other classes than the model now", fix=fix)
    labelled = listed.only(lambda sample: sample.label is not None and sample.split in ("train", "valid"))
    dataset = drop_bad_images(labelled, scan_dataset(labelled, recipe.data, paths, progress), recipe.data.on_bad)
    valid = dataset.split("valid")
    if not len(valid):
        raise EmptyInput(str(path), "the training had no validation images", fix=fix)
    return LabelledImages(
        compared=valid, training=dataset.split("train"), section=recipe.data, source=f"validation split of {path}"
    )


def images_at(path: Path, bundle: Bundle, paths: Paths, progress: Progress) -> LabelledImages:
    """Return labelled images of another dataset: its validation split, else the one that `evaluate` measures on.

    Raises what the readers raise, and BadData for classes that the model does not have.
    """
    path, section = path.expanduser().resolve(), DataSection()
    check_path(path, section.format)
    listing = open_listing(path, section.format, read_options(section))
    listed = make_evaluation_splits(listing, path=str(path), recipe=section, classes=bundle.class_map)
    labelled = listed.only(lambda sample: sample.label is not None)
    whole = drop_bad_images(labelled, scan_dataset(labelled, section, paths, progress), section.on_bad)
    valid = whole.split("valid")
    compared = valid if len(valid) else evaluation_split(whole, None, has_splits(listing))
    if not len(compared):
        raise EmptyInput(str(path), "no labelled image of it can be read")
    split = compared.samples[0].split
    training = whole.split("train") if split != "train" else whole.only(lambda sample: False)
    return LabelledImages(
        compared=compared,
        training=training,
        section=section,
        source=f"{split} split of {path}" if has_splits(listing) else str(path),
    )


def spread(dataset: Dataset, most: int) -> Dataset:
    """Return at most `most` samples, evenly spread over the order of the dataset, so that each class has its share."""
    count = min(most, len(dataset))
    chosen = np.linspace(0, len(dataset) - 1, count).astype(int)  # all different, as count is no larger
    return replace(dataset, samples=tuple(dataset.samples[i] for i in chosen))


def check_calibration(images: LabelledImages) -> None:
    """Raise EmptyInput where there are too few training images to calibrate int8 on."""
    if len(images.training) < _FEWEST_CALIBRATION:
        problem = f"it is calibrated on training images, and {images.source} has {len(images.training)} beside it"
        raise EmptyInput("--quantize int8", problem, fix="Pass --gate-data PATH with the splits train and valid.")
