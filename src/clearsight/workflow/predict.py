"""predict: classes of images, wherever they are; an image that cannot be read is listed with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.bundle import open_bundle
from clearsight.core.errors import BadValue
from clearsight.core.machine import cores
from clearsight.core.recipe import Recipe
from clearsight.serving.payload import Prepared
from clearsight.workflow.deployment.endpoint_client import EndpointClient, endpoint_name, predict_remotely
from clearsight.workflow.paths import Paths
from clearsight.workflow.predictors import open_features, open_predictor, prepare_image
from clearsight.workflow.prepare.datasets import Progress, quiet
from clearsight.workflow.prepare.inputs import InputImage, input_images
from clearsight.workflow.results.predictions import Prediction, Predictions

_BATCH = 32  # images in memory at a time; decoding one batch keeps all cores busy


def predict(
    model: str | Path,
    images: Any,
    *,
    top: int = 5,
    split: str | None = None,
    embeddings: bool = False,
    device: str = "cpu",
    progress: Progress = quiet,
    paths: Paths | None = None,
    **settings: Any,
) -> Predictions:
    """Classify images with the run or bundle `model`, or with the deployed model of "endpoint:NAME".

    images: files, folders, globs, datasets, bytes, arrays, PIL images, torch tensors, or a list of them.  top: classes
    listed per image.  split: of datasets.  embeddings: also compute the features before the head, with torch.
    settings: fields of the recipe's data section, for datasets and `max_pixels`.
    Raises NotFound for a missing path, EmptyInput when no image was found.
    """
    if name := endpoint_name(model):
        from clearsight.workflow.deployment.deploy import (
            address,  # it loads the server, which other predictions do not need
        )

        if embeddings:
            raise BadValue("--embeddings", "an endpoint computes none", fix="Pass a run or a bundle.")
        client = EndpointClient(name, *address(name, home=(paths or Paths.of({})).home))
        return predict_remotely(client, images, top=top, split=split, progress=progress, **settings)
    section = Recipe().replace(**settings).data
    listed = input_images(images, section, split)
    with open_bundle(Path(model)) as bundle, ThreadPoolExecutor(cores()) as pool:
        predictor = open_predictor(bundle, device=device, max_pixels=section.max_pixels)
        features = open_features(bundle, device) if embeddings else None
        rows: list[Prediction] = []
        probabilities = np.full((len(listed), len(bundle.classes)), np.nan)
        vectors: npt.NDArray[np.float32] | None = None
        for start in range(0, len(listed), _BATCH):
            chunk = listed[start : start + _BATCH]
            prepared = list(pool.map(lambda image: prepare_image(image, predictor), chunk))
            readable = [start + i for i, image in enumerate(prepared) if isinstance(image, np.ndarray)]
            if readable:
                batch = np.stack([image for image in prepared if isinstance(image, np.ndarray)])
                probabilities[readable] = predictor.probabilities(batch)
                if features is not None:
                    found = features(batch)
                    if vectors is None:
                        vectors = np.full((len(listed), found.shape[1]), np.nan, np.float32)
                    vectors[readable] = found
            rows += _ranked(chunk, prepared, probabilities[start:], bundle.classes, top)
            progress("predicting", len(rows), len(listed))
    return Predictions(rows, listed, bundle.classes, probabilities, vectors)


def _ranked(
    chunk: list[InputImage],
    prepared: list[Prepared | str],
    probabilities: npt.NDArray[np.float64],
    classes: tuple[str, ...],
    top: int,
) -> Iterator[Prediction]:
    for image, outcome, row in zip(chunk, prepared, probabilities, strict=False):
        if isinstance(outcome, str):
            yield Prediction(path=image.name, error=outcome)
            continue
        order = np.argsort(-row, kind="stable")[:top]  # equal probabilities: in the order of the classes
        yield Prediction(path=image.name, top=tuple((classes[i], float(row[i])) for i in order))
