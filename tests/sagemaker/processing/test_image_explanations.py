"""A Clarify job from its request to its objects, with a model that is served for its time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.sagemaker.hosting.model_folder import IMAGE, archive
from tests.sagemaker.processing.conftest import ProcessingRun

CLARIFY = "205585389593.dkr.ecr.us-east-1.amazonaws.com/sagemaker-clarify-processing:1.0"
GREEN = """
import io, json, time
import numpy as np
def model_fn(model_dir): return None
def input_fn(body, content_type): return np.load(io.BytesIO(body)).astype(float)
def predict_fn(images, model):
    time.sleep({seconds})
    green = images[..., 1].mean(axis=(1, 2)) / 255
    return np.stack([green, 1 - green], axis=1).tolist()
def output_fn(scores, accept): return json.dumps(scores), "application/json"
"""


class _Models(BaseHTTPRequestHandler):
    """DescribeModel of a service that knows the model `green`."""

    models: ClassVar[dict[str, Any]] = {}

    def do_POST(self) -> None:
        name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["ModelName"]
        found = name in self.models
        error = {"__type": "ValidationException", "Message": f"Could not find model {name}."}
        body = json.dumps(self.models[name] if found else error).encode()
        self.send_response(200 if found else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


@pytest.fixture
def clarify_job(job: ProcessingRun, scenes: Path) -> Iterator[ProcessingRun]:
    """Return a job that explains a photograph by the model that `configure` gives it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Models) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        photo = sorted((scenes / "seg_train" / "forest").glob("*.jpg"))[0]
        job.input("dataset", job.put("in/forest.jpg", photo.read_bytes()), LocalPath="/opt/ml/processing/input/data")
        job.request["AppSpecification"] = {"ImageUri": CLARIFY}
        job.endpoint_url = f"http://127.0.0.1:{server.server_port}"
        yield job
        server.shutdown()


def configure(job: ProcessingRun, seconds: float = 0.0, model: str = "green") -> str:
    """Give a job its analysis and its model; return the key of its output."""
    analysis = {
        "dataset_type": "application/x-image",
        "methods": {"shap": {"num_samples": 20, "image_config": {"model_type": "IMAGE_CLASSIFICATION"}}},
        "predictor": {"model_name": model, "content_type": "application/x-npy", "label_headers": ["forest", "other"]},
    }
    uri = job.put("analysis_config.json", json.dumps(analysis).encode())
    job.input("analysis_config", uri, LocalPath="/opt/ml/processing/input/config")
    data = job.put("model.tar.gz", archive({"code/inference.py": GREEN.replace("{seconds}", str(seconds))}))
    environment = {"SAGEMAKER_PROGRAM": "inference.py"}
    _Models.models["green"] = {"PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": data, "Environment": environment}}
    return job.output("output", "Continuous")


def test_a_clarify_job_serves_its_model_and_uploads_what_it_finds(clarify_job: ProcessingRun) -> None:
    key = configure(clarify_job)
    assert clarify_job.run() == "Completed", clarify_job.log
    names = {name.removeprefix(f"{key}/") for name in clarify_job.keys(key)}
    values = {"explanations_shap/out.csv", "explanations_shap/forest.jpg.npy"}
    assert names == {"analysis.json", "forest.jpeg", *values}
    header, *rows = clarify_job.get(f"{key}/explanations_shap/out.csv").decode().splitlines()
    assert header == "image,label,segment,pixels,shap_value"
    assert len(rows) >= 2 * 12
    assert any(line.startswith("1 of 1: forest.jpg: ") for line in clarify_job.log)
    assert not (clarify_job.folder / "model").exists()


def test_a_clarify_job_beyond_its_time_is_stopped(clarify_job: ProcessingRun) -> None:
    configure(clarify_job, seconds=30.0)
    clarify_job.request["StoppingCondition"] = {"MaxRuntimeInSeconds": 1}
    assert clarify_job.run() == "Stopped"
    assert clarify_job.statuses[-1] == "MaxRuntimeExceeded"


def test_a_model_and_a_configuration_that_are_not_there(clarify_job: ProcessingRun) -> None:
    configure(clarify_job, model="blue")
    assert clarify_job.run() == "Failed"
    assert clarify_job.reason == "ClientError: model blue: Could not find model blue."


def test_a_clarify_job_without_its_configuration(job: ProcessingRun) -> None:
    job.request["AppSpecification"] = {"ImageUri": CLARIFY}
    assert job.run() == "Failed"
    assert "analysis_config.json. It must be an input of the job." in job.reason
