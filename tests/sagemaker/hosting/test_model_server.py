"""A model in its processes: SageMaker's contract for scripts, clearsight's own bundles, and processes that end."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clearsight.testing.mean_colour import CLASSES, make_bundle
from clearsight_sagemaker.algorithms.image_classification.responses import write_class_count
from clearsight_sagemaker.hosting.worker import InvocationResult
from clearsight_sagemaker.training.failure import JobFailed
from clearsight_sagemaker.training.processes.namespaces import namespace_support
from tests.sagemaker.hosting.model_folder import SCRIPT, ModelFolder, archive, folder_archive

ALL = """
import json, os
def model_fn(model_dir): return [model_dir, sorted(os.listdir(model_dir)), os.getcwd()]
def input_fn(body, content_type): return [type(body).__name__, content_type, len(body)]
def predict_fn(data, model): return {"data": data, "model": model}
def output_fn(prediction, accept): return json.dumps({**prediction, "accept": accept}), "application/json"
"""
# 7 is loaded; its requests: sleep, end, fail, or a number that is multiplied.
TASKS = """
import json, os, time
def model_fn(model_dir): return 7
def input_fn(body, content_type): return json.loads(body)
def predict_fn(task, model):
    if task == "sleep": time.sleep(60)
    if task == "end": os._exit(3)
    return task * model
def output_fn(product, accept): return json.dumps(product)
"""
JSON = "application/json"


def test_a_script_gets_requests_by_the_contract_of_sagemaker(model: ModelFolder, shared: Path) -> None:
    photo = (shared / "data" / "bad-inputs" / "good.jpg").read_bytes()
    with model.serving({"model.pth": b"weights", SCRIPT: ALL}) as server:
        result = server.invoke(photo, "image/jpeg", JSON)
        text = server.invoke(b"[1]", "", "")
    ml = "/opt/ml" if server.support.no_network else str(model.folder / "work" / "ml")
    assert result.status == 200
    assert result.content_type == JSON
    assert json.loads(result.body) == {
        "data": ["bytes", "image/jpeg", len(photo)],
        "model": [f"{ml}/model", ["code", "model.pth"], f"{ml}/model"],
        "accept": JSON,
    }
    assert json.loads(text.body)["data"] == ["str", JSON, 3]
    assert json.loads(text.body)["accept"] == JSON


def test_an_exception_of_a_script_is_message_and_traceback_and_harms_no_other_request(model: ModelFolder) -> None:
    with model.serving({SCRIPT: TASKS}) as server:
        result = server.invoke(b'{"a": 1}', JSON)
        assert server.invoke(b"6", JSON).body == b"42"
    lines = result.body.decode().splitlines()
    assert result.status == 500
    assert lines[:2] == ["unsupported operand type(s) for *: 'dict' and 'int'", "Traceback (most recent call last):"]
    assert lines[2].endswith('/model/code/inference.py", line 8, in predict_fn')
    assert "TypeError: unsupported operand" in model.log


def test_a_process_that_is_too_slow_or_ends_is_replaced(model: ModelFolder) -> None:
    with model.serving({SCRIPT: TASKS}) as server:
        assert server.invoke(b'"sleep"', JSON, timeout=0.3).status == 504
        assert server.invoke(b"6", JSON).body == b"42"
        assert server.invoke(b'"end"', JSON) == InvocationResult(500, b"Worker died.", "text/plain")
        assert server.invoke(b"6", JSON).body == b"42"
    assert "A request took longer than 0.3 s; its process is replaced." in model.log
    assert "Worker died (exit code 3); another process is started." in model.log


def test_weights_without_a_script_answer_with_the_traceback_of_the_default_model_fn(model: ModelFolder) -> None:
    with model.serving({"code/train.py": "raise SystemExit", "a.pth": b"", "b.pth": b""}) as server:
        assert "Exactly one .pth or .pt file is required for PyTorch models: ['a.pth', 'b.pth']" in server.problem
        result = server.invoke(b"1", JSON)
    assert result.status == 500
    assert result.body.decode() == server.problem
    assert "Every invocation is answered with the reason:" in model.log


def test_a_bundle_is_served_without_a_script(model: ModelFolder, shared: Path, tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle")
    photo = (shared / "data" / "bad-inputs" / "good.jpg").read_bytes()
    model.write(model.put("bundle.tar.gz", folder_archive(tmp_path / "bundle")))
    with model.server() as server:
        result = server.invoke(photo, "image/jpeg", JSON)
        bad = server.invoke(b"no image", "image/jpeg", JSON)
    assert (result.status, result.content_type) == (200, JSON)
    assert json.loads(result.body)["label"] in CLASSES
    assert bad.status == 400
    assert b"Traceback" not in bad.body


def test_a_model_of_the_built_in_algorithm_answers_with_a_list(
    model: ModelFolder, shared: Path, tmp_path: Path
) -> None:
    """Its outputs are the classes 1, 2, 4 and 10 of twelve: the training images had no others."""
    folder = tmp_path / "bundle"
    make_bundle(folder).model_copy(update={"classes": ("1", "2", "4", "10")}).seal(folder)
    write_class_count(folder, 12)
    photo = (shared / "data" / "bad-inputs" / "good.jpg").read_bytes()
    model.image = "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1"
    model.write(model.put("model.tar.gz", folder_archive(folder)))
    with model.server() as server:
        assert server.problem == ""
        result = server.invoke(photo, "application/x-image", "")
        bad = server.invoke(b"no image", "image/jpeg", "")
        other = server.invoke(b"{}", JSON, JSON)
    probabilities = json.loads(result.body)
    assert (result.status, result.content_type) == (200, JSON)
    assert [number for number, value in enumerate(probabilities) if value] == [1, 2, 4, 10]
    assert (len(probabilities), sum(probabilities)) == (12, pytest.approx(1))
    assert (bad.status, other.status) == (400, 415)


def test_code_from_an_archive_of_its_own_and_a_folder_as_model(model: ModelFolder) -> None:
    model.environment["SAGEMAKER_SUBMIT_DIRECTORY"] = model.put("code.tar.gz", archive({"inference.py": ALL}))
    model.put("parts/weights/a.bin", b"1")
    source = {"S3Uri": "s3://models/parts/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    model.write({"S3DataSource": source})
    with model.server() as server:
        result = server.invoke(b"[1]", JSON, JSON)
    assert json.loads(result.body)["model"][1] == ["weights"]


def test_workers_answer_at_the_same_time(model: ModelFolder, tmp_path: Path) -> None:
    meet = f"""
import os, time
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept):
    open({str(tmp_path)!r} + "/met-" + body, "w").close()
    end = time.monotonic() + 50
    while sum(name.startswith("met-") for name in os.listdir({str(tmp_path)!r})) < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    return "met"
"""
    model.environment["SAGEMAKER_MODEL_SERVER_WORKERS"] = "2"
    with model.serving({SCRIPT: meet}) as server, ThreadPoolExecutor() as threads:
        answers = threads.map(lambda name: server.invoke(name, JSON).body, [b"a", b"b"])
        assert [*answers] == [b"met", b"met"]


@pytest.mark.parametrize(
    ("files", "reason"),
    [(None, "Please ensure that there is an object located at the URL"), ({"../escape.py": ""}, "outside its folder")],
    ids=["missing", "unsafe"],
)
def test_data_that_cannot_be_had_is_a_reason(model: ModelFolder, files: dict[str, str] | None, reason: str) -> None:
    model.write("s3://models/model.tar.gz" if files is None else model.put("model.tar.gz", archive(files)))
    with pytest.raises(JobFailed) as failure, model.server():
        pass
    assert failure.value.reason.startswith('Failed to download model data for container "container_1" from URL: "s3://')
    assert reason in failure.value.reason


def test_packages_that_cannot_be_had_are_a_reason(model: ModelFolder) -> None:
    model.environment["PIP_NO_INDEX"] = "1"
    model.write(model.put("model.tar.gz", archive({SCRIPT: ALL, "code/requirements.txt": "no-such-package==1"})))
    with pytest.raises(JobFailed) as failure, model.server():
        pass
    assert "No matching distribution found for no-such-package==1" in failure.value.reason


def test_a_model_with_network_isolation_sees_loopback_alone(model: ModelFolder, tmp_path: Path) -> None:
    if not (support := namespace_support(tmp_path)).no_network:
        pytest.skip(f"no namespaces on this machine: {support.reason}")
    interfaces = """
import socket
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept): return repr([name for _, name in socket.if_nameindex()])
"""
    model.write(model.put("model.tar.gz", archive({SCRIPT: interfaces})))
    file = model.folder / "request.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "EnableNetworkIsolation": True}))
    with model.server() as server:
        assert server.invoke(b"1").body == b"['lo']"
