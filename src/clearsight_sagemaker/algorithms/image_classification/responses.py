"""ImageClassifier: responses of the algorithm's endpoint, a list of the probabilities of all classes for an image."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clearsight.core.bundle import Bundle
from clearsight.core.errors import BadData, UnsupportedType
from clearsight.core.files import read_json, write_json
from clearsight.serving.negotiation import media_type
from clearsight.serving.predictor import Predictor
from clearsight.workflow.predictors import open_predictor

_CLASS_COUNT = "image-classification.json"
_IMAGE_TYPES = ("application/x-image", "image/jpeg", "image/png")
_JSON, _JSON_LINES = "application/json", "application/jsonlines"


def is_algorithm_model(model_dir: Path) -> bool:
    """Return True for the folder of a model that a job of the algorithm has trained."""
    return (model_dir / _CLASS_COUNT).is_file()


def write_class_count(model_dir: Path, classes: int) -> None:
    """Write the number of classes beside a bundle, whose training images may not have had all of them."""
    write_json(model_dir / _CLASS_COUNT, {"num_classes": classes})


@dataclass(frozen=True, slots=True)
class ImageClassifier:
    """A model of the algorithm. `respond` may be called by one thread at a time.

    outputs: of the network, the number of the class of each.  classes: their number.
    """

    predictor: Predictor
    outputs: tuple[int, ...]
    classes: int

    @classmethod
    def open(cls, model_dir: Path, *, device: str = "cpu", threads: int | None = None) -> ImageClassifier:
        """Open the model in a folder. Raises ClearsightError for one that is damaged or of another kind."""
        bundle = Bundle.open(model_dir)
        try:
            classes = int(read_json(model_dir / _CLASS_COUNT)["num_classes"])
            outputs = tuple(int(name) for name in bundle.classes)
        except (KeyError, TypeError, ValueError):
            raise BadData(str(model_dir), "it is no model of the image-classification algorithm") from None
        if max(outputs) >= classes:
            raise BadData(str(model_dir / _CLASS_COUNT), f"num_classes {classes} is too few for class {max(outputs)}")
        return cls(open_predictor(bundle, device=device, threads=threads), outputs, classes)

    def respond(self, body: bytes, content_type: str, accept: str = "") -> tuple[bytes, str]:
        """Return body and media type of the response to an invocation.

        content_type: of one encoded image; "" counts as application/x-image.  accept: application/jsonlines for an
        object with the list on a line, anything else for the list itself.
        Raises UnsupportedType, BadImage, EmptyInput, TooLarge for a request that cannot be classified.
        """
        declared = media_type(content_type) or _IMAGE_TYPES[0]
        if declared not in _IMAGE_TYPES:
            problem = "the algorithm does not read it"
            raise UnsupportedType(f"content-type {declared}", problem, got=declared, allowed=_IMAGE_TYPES)
        image = self.predictor.prepared(body)
        row = self.predictor.probabilities(np.stack([image]))[0]  # (C,)
        probabilities = [0.0] * self.classes
        for number, value in zip(self.outputs, row.tolist(), strict=True):
            probabilities[number] = value
        if _JSON_LINES in accept:
            return json.dumps({"prediction": probabilities}).encode() + b"\n", _JSON_LINES
        return json.dumps(probabilities).encode(), _JSON
