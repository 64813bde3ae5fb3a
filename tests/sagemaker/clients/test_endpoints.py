"""Endpoints with SDK v2 and boto3: a real network on a real image, and clients that outlast a killed service."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from tests.sagemaker.clients.conftest import RealService
from tests.sagemaker.hosting.model_folder import archive

WALKS = Path(__file__).with_name("walks")
LOAD = """
import json, sys
import boto3
from botocore.config import Config

sagemaker, s3 = boto3.client("sagemaker"), boto3.client("s3")
s3.create_bucket(Bucket="loaded")
s3.upload_file(sys.argv[1], "loaded", "model.tar.gz")
image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:1.9-cpu-py38"
container = {"Image": image, "ModelDataUrl": "s3://loaded/model.tar.gz"}
role = "arn:aws:iam::000000000000:role/clearsight"
sagemaker.create_model(ModelName="loaded", PrimaryContainer=container, ExecutionRoleArn=role)
variant = {"VariantName": "A", "ModelName": "loaded", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
sagemaker.create_endpoint_config(EndpointConfigName="loaded", ProductionVariants=[variant])
sagemaker.create_endpoint(EndpointName="loaded", EndpointConfigName="loaded")
sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="loaded", WaiterConfig={"Delay": 1})
runtime = boto3.client("sagemaker-runtime", config=Config(retries={"mode": "standard", "max_attempts": 10}))
print("READY", flush=True)
answers = []
for number in range(int(sys.argv[2])):
    response = runtime.invoke_endpoint(EndpointName="loaded", ContentType="application/json", Body=str(number))
    answers.append(json.loads(response["Body"].read()))
    print("ANSWERED", number, flush=True)
print(json.dumps(answers))
print(sagemaker.describe_endpoint(EndpointName="loaded")["EndpointStatus"])
sagemaker.delete_endpoint(EndpointName="loaded")
"""
SCRIPT = """
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept): return body
"""


def test_a_real_network_is_deployed_and_deleted(real: RealService, shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "imagenet-sample"
    with (folder / "labels.csv").open() as file:
        row = next(csv.DictReader(file))
    photo = folder / row["file"]
    Image.open(photo).convert("RGB").save(tmp_path / "photo.png")
    weights = shared / "weights" / "mobilenetv2_100_imagenet.safetensors"
    words = (str(WALKS / "deploy_photos.py"), str(WALKS), str(weights), str(photo), str(tmp_path / "photo.png"))
    output = real.clients.run("python", *words)
    lines = (line.partition(" ") for line in output.splitlines())
    found = {word: rest for word, _, rest in lines if word.isupper()}
    assert found["NPY"] == "(2, 1000) float32"
    label = row["index"]
    assert [found[kind] for kind in ("JSON", "PNG", "LAMBDA", "STREAM")] == [label] * 4
    assert found["SHAPES"] == "InService photos", "the pydantic models of the SDK take the descriptions"
    assert found["MODEL"] == "inference_photos.py"
    assert found["ERROR"] == "500 Unsupported content type: image/gif"
    assert found["DELETED"].startswith('Could not find endpoint configuration "arn:aws:sagemaker:us-east-1:')
    assert found["WITHOUT"] == "True"
    assert found["LOGGED"] == "1"
    assert real.hosts() == "", "a client reaches the service alone"


@pytest.mark.slow
def test_clients_of_an_endpoint_outlast_kills_and_a_stop_of_the_service(real: RealService, tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(archive({"code/inference.py": SCRIPT}))
    count = 1500
    with real.clients.popen("python", "-c", LOAD, str(tmp_path / "model.tar.gz"), str(count)) as client:
        assert client.stdout is not None
        lines = iter(client.stdout.readline, "")
        for marker in ("READY", "ANSWERED 200\n", "ANSWERED 700\n", "ANSWERED 1100\n"):
            while (line := next(lines)) != marker and not line.startswith(marker):
                assert client.poll() is None, client.stderr.read() if client.stderr else ""
            if marker == "ANSWERED 1100\n":
                real.stop()  # it ends the model server too
                real.start()
            elif marker != "READY":
                real.kill()
                real.wait_for_answer()  # its supervisor starts it again
        *_, answers, status = client.communicate(timeout=120)[0].splitlines()
    assert client.returncode == 0
    assert json.loads(answers) == [*range(count)]
    assert status == "InService"
