"""The local SageMaker service: seconds of a training job and an endpoint, milliseconds of operations and invocations.

    python benchmarks/sagemaker_service.py [--jobs 5] [--requests 300]

boto3 sends every request, from one thread, to a service that `clearsight sagemaker start` would start. The script of a
job prints a line and ends, so that its time is that of the service: archive, process, /opt/ml, model, status. The log
is asked for every 50 ms, and the status too: what the SDK adds by its sleeps is not part of it.
The handler of the endpoint returns its own time, which is taken off the time that a client waits: the rest is what
boto3, the service and the model server add. The bundle is a network of 32 x 32 pixels with an ONNX file.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError
from measured import machine, shared, spread

from clearsight.core.machine import process_ended
from clearsight.testing.mean_colour import make_bundle
from clearsight_sagemaker.service.lifecycle import start_service, stop_service
from clearsight_sagemaker.service.server import ServiceOptions
from clearsight_sagemaker.state.home import ServiceHome

GROUP = "/aws/sagemaker/TrainingJobs"
POLL_SECONDS = 0.05
TIMED = """
import time
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept):
    started = time.perf_counter()
    total = sum(body[:1000])
    return repr(time.perf_counter() - started)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=5)
    parser.add_argument("--requests", type=int, default=300)
    args = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = ServiceHome(Path(folder))
        started = time.perf_counter()
        url = start_service(ServiceOptions(home=home.folder), os.environ).url
        print(f"start of the service: {time.perf_counter() - started:.1f} s (n=1)")
        identity = home.address()["process"]
        try:
            measure(url, args.jobs, args.requests)
        finally:
            stop_service(home)
            while not process_ended(identity):
                time.sleep(POLL_SECONDS)


def measure(url: str, jobs: int, requests: int) -> None:
    """Print every figure of a service."""
    s3, sagemaker, logs = (client(name, url) for name in ("s3", "sagemaker", "logs"))
    s3.create_bucket(Bucket="bench")
    s3.put_object(Bucket="bench", Key="sourcedir.tar.gz", Body=source())
    times = [job_seconds(f"bench-{number}", sagemaker, logs) for number in range(jobs + 1)][1:]  # the first warms up
    print(f"CreateTrainingJob to the first log line: {spread([first for first, _ in times], 2)} s; aim 3")
    print(f"an empty job, Create to Completed: {spread([whole for _, whole in times], 2)} s")
    report("DescribeTrainingJob", requests, lambda: sagemaker.describe_training_job(TrainingJobName="bench-0"))
    report("ListTrainingJobs", requests, lambda: sagemaker.list_training_jobs(MaxResults=100))
    photo = next((shared() / "data" / "intel-scenes" / "seg_test").rglob("*.jpg")).read_bytes()
    report(f"PutObject of {len(photo)} bytes", requests, lambda: s3.put_object(Bucket="bench", Key="a", Body=photo))
    report("GetObject of it", requests, lambda: s3.get_object(Bucket="bench", Key="a")["Body"].read())
    report("ListObjectsV2", requests, lambda: s3.list_objects_v2(Bucket="bench"))
    measure_endpoints(url, requests, photo)


def measure_endpoints(url: str, requests: int, photo: bytes) -> None:
    """Print the seconds that an endpoint takes to come into service, and what an invocation adds."""
    s3, sagemaker, runtime = (client(name, url) for name in ("s3", "sagemaker", "sagemaker-runtime"))
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder) / "bundle")
        s3.upload_file(str(bundle.pack(Path(folder) / "model.tar.gz")), "bench", "bundle.tar.gz")
    s3.put_object(Bucket="bench", Key="timed.tar.gz", Body=source("code/inference.py", TIMED))
    seconds = [endpoint_seconds(f"bundle-{number}", "bundle", sagemaker) for number in range(5)]
    print(f"CreateEndpoint of a bundle to InService: {spread(seconds, 2)} s; aim 10")
    endpoint_seconds("timed", "timed", sagemaker)
    added = []
    for _ in range(requests + 1):
        started = time.perf_counter()
        response = runtime.invoke_endpoint(EndpointName="timed", ContentType="image/jpeg", Body=photo)
        handler = float(response["Body"].read())
        added.append(1000 * (time.perf_counter() - started - handler))
    show("InvokeEndpoint beyond the handler's own time", added[1:], "; aim 5 ms at p50")
    for name in [f"bundle-{number}" for number in range(5)] + ["timed"]:
        sagemaker.delete_endpoint(EndpointName=name)


def endpoint_seconds(name: str, data: str, sagemaker: Any) -> float:
    """Create an endpoint; return the seconds until it is in service."""
    container = {"Image": "pytorch-inference:1.9-cpu-py38", "ModelDataUrl": f"s3://bench/{data}.tar.gz"}
    role = "arn:aws:iam::111122223333:role/Trainer"
    sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=role)
    variant = {"VariantName": "A", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    started = time.perf_counter()
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    while (found := sagemaker.describe_endpoint(EndpointName=name))["EndpointStatus"] == "Creating":
        time.sleep(POLL_SECONDS)
    if found["EndpointStatus"] != "InService":
        raise RuntimeError(f"{name}: {found['EndpointStatus']}: {found.get('FailureReason')}")
    return time.perf_counter() - started


def client(name: str, url: str) -> Any:
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    return boto3.client(name, endpoint_url=url, region_name="us-east-1", **keys)


def source(name: str = "train.py", script: str = "print('the first line', flush=True)\n") -> bytes:
    """Return the archive of a script."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(script)
        archive.addfile(info, io.BytesIO(script.encode()))
    return body.getvalue()


def job_seconds(name: str, sagemaker: Any, logs: Any) -> tuple[float, float]:
    """Run a job; return the seconds to its first log line and to its end."""
    started, first = time.perf_counter(), 0.0
    sagemaker.create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": "pytorch-training:1.9-cpu-py38", "TrainingInputMode": "File"},
        RoleArn="arn:aws:iam::111122223333:role/Trainer",
        OutputDataConfig={"S3OutputPath": "s3://bench/models"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
        HyperParameters={
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": '"s3://bench/sourcedir.tar.gz"',
        },
    )
    while True:
        if not first and "the first line" in log_of(name, logs):
            first = time.perf_counter() - started
        found = sagemaker.describe_training_job(TrainingJobName=name)
        if found["TrainingJobStatus"] not in ("InProgress", "Stopping"):
            whole = time.perf_counter() - started
            if found["TrainingJobStatus"] != "Completed":
                raise RuntimeError(f"{name}: {found['TrainingJobStatus']}: {found.get('FailureReason')}")
            return first or whole, whole
        time.sleep(POLL_SECONDS)


def log_of(name: str, logs: Any) -> str:
    try:
        streams = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")["logStreams"]
    except ClientError:  # the group is there with the first job
        return ""
    lines = []
    for stream in streams:
        events = logs.get_log_events(logGroupName=GROUP, logStreamName=stream["logStreamName"], startFromHead=True)
        lines += [event["message"] for event in events["events"]]
    return "\n".join(lines)


def report(name: str, count: int, call: Callable[[], object]) -> None:
    """Print the milliseconds of a call, after one that warms up."""
    call()
    milliseconds = []
    for _ in range(count):
        started = time.perf_counter()
        call()
        milliseconds.append(1000 * (time.perf_counter() - started))
    show(name, milliseconds)


def show(name: str, milliseconds: list[float], aim: str = "") -> None:
    """Print p50 and p99 of times."""
    p99 = statistics.quantiles(milliseconds, n=100)[98]
    times = f"p50 {statistics.median(milliseconds):.1f} ms, p99 {p99:.1f} ms, most {max(milliseconds):.1f} ms"
    print(f"{name}: {times} (n={len(milliseconds)}){aim}")


if __name__ == "__main__":
    main()
