"""Captured requests: the folders and lines of SageMaker's data capture, and never a lost response."""

from __future__ import annotations

import base64
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from clearsight.serving.app import build_app
from clearsight.serving.data_capture import CaptureOptions, DataCapture
from clearsight.serving.predictor import Predictor
from clearsight.serving.service import Service
from tests.serving.fixed_model import FixedModel


def lines(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.rglob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_request_is_captured_with_its_response(predictor: Predictor, photo: bytes, tmp_path: Path) -> None:
    capture = DataCapture(CaptureOptions(folder=str(tmp_path)), "dogs")
    with TestClient(build_app(Service(predictor), capture=capture)) as client:
        headers = {"Content-Type": "image/jpeg", "X-Amzn-SageMaker-Inference-Id": "request-7"}
        answer = client.post("/invocations", content=photo, headers=headers).json()
        client.post("/invocations", content=b"no image", headers=headers)  # refused: nothing was inferred
        client.get("/ping")
    [line] = lines(tmp_path)
    given, sent = line["captureData"]["endpointInput"], line["captureData"]["endpointOutput"]
    assert (given["mode"], given["observedContentType"], given["encoding"]) == ("INPUT", "image/jpeg", "BASE64")
    assert base64.b64decode(given["data"]) == photo
    assert (sent["mode"], sent["encoding"]) == ("OUTPUT", "JSON")
    assert json.loads(sent["data"]) == answer
    assert line["eventVersion"] == "0"
    assert line["eventMetadata"]["inferenceId"] == "request-7"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["eventMetadata"]["inferenceTime"])
    [file] = tmp_path.rglob("*.jsonl")
    assert re.fullmatch(
        r"dogs/main/\d{4}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{3}-[0-9a-f-]{36}\.jsonl", str(file.relative_to(tmp_path))
    )


def test_a_sample_of_the_requests(tmp_path: Path) -> None:
    capture = DataCapture(CaptureOptions(folder=str(tmp_path), share=0.25), "dogs", draws=random.Random(0))
    with TestClient(build_app(FixedModel("a"), capture=capture)) as client:
        for _ in range(200):
            client.post("/invocations", content=b"1,2", headers={"Content-Type": "text/csv"})
    captured = lines(tmp_path)
    assert 30 <= len(captured) <= 70
    assert captured[0]["captureData"]["endpointInput"]["data"] == "1,2"
    assert captured[0]["captureData"]["endpointInput"]["encoding"] == "CSV"


@pytest.mark.parametrize(
    ("inputs", "outputs", "parts"), [(True, False, {"endpointInput"}), (False, True, {"endpointOutput"})]
)
def test_inputs_or_outputs_alone(inputs: bool, outputs: bool, parts: set[str], tmp_path: Path) -> None:
    capture = DataCapture(CaptureOptions(folder=str(tmp_path), inputs=inputs, outputs=outputs), "dogs")
    with TestClient(build_app(FixedModel("a"), capture=capture)) as client:
        client.post("/invocations", content=b"image")
    assert set(lines(tmp_path)[0]["captureData"]) == parts


def test_a_folder_that_cannot_be_written_loses_no_response(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    capture = DataCapture(CaptureOptions(folder=str(tmp_path / "file")), "dogs")
    with TestClient(build_app(FixedModel("a"), capture=capture)) as client:
        assert [client.post("/invocations", content=b"image").status_code for _ in range(3)] == [200] * 3
    assert sum("could not be captured" in record.message for record in caplog.records) == 1
