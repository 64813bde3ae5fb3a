"""The four functions that code/inference.py of a bundle imports for SageMaker-style containers."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clearsight.core.errors import UnsupportedType
from clearsight.testing.mean_colour import CLASSES, SIZE, make_bundle
from clearsight.workflow import inference
from clearsight.workflow.inference import input_fn, model_fn, output_fn, predict_fn

PARAMETERS = {
    "model_fn": ["model_dir"],
    "input_fn": ["request_body", "content_type"],
    "predict_fn": ["payload", "predictor"],
    "output_fn": ["prediction", "accept"],
}


def npy(images: np.ndarray) -> bytes:
    from io import BytesIO

    stream = BytesIO()
    np.save(stream, images)
    return stream.getvalue()


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items(), ids=PARAMETERS)
def test_names_and_parameters_are_those_that_bundles_and_containers_use(name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(inference, name)).parameters) == parameters


def test_a_request_becomes_probabilities(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    red = np.zeros((2, SIZE, SIZE, 3), dtype=np.uint8)
    red[..., 0] = 255
    prediction = predict_fn(input_fn(npy(red), "application/x-npy"), model_fn(str(tmp_path)))
    body, media_type = output_fn(prediction, "application/json")
    assert media_type == "application/json"
    assert [row["label"] for row in json.loads(body)["predictions"]] == [CLASSES[0]] * 2


def test_a_body_of_an_unknown_type_is_refused() -> None:
    with pytest.raises(UnsupportedType):
        input_fn(b"", "text/html")


def test_it_loads_no_torch() -> None:
    code = "import sys, clearsight.workflow.inference; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
