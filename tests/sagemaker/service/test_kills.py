"""The service is killed again and again while everything that it has runs: at the end nothing is lost or done twice."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError, ReadTimeoutError, WaiterError

from clearsight_sagemaker.state.home import ServiceHome
from tests.sagemaker.hosting.model_folder import IMAGE, SCRIPT, archive
from tests.sagemaker.service_process import ServiceProcess, client_of, end_processes, free_port
from tests.sagemaker.tuning.tuning_requests import tuning_request

SECONDS, KILLS, CHILDREN, RECORDS = 180.0, 20, 6, 400
EPOCHS = 40
ROLE = "arn:aws:iam::111122223333:role/service-role/Trainer"
TUNING = {"HyperParameterTuningJobName": "hpo"}
UNAVAILABLE = (EndpointConnectionError, HTTPClientError)
# Answers a number with its square, which nobody takes for the answer to another one.
SQUARE = """
import json, time
def model_fn(model_dir): return None
def input_fn(body, content_type): return json.loads(body)
def predict_fn(number, model): time.sleep(0.05); return number * number
def output_fn(square, accept): return json.dumps(square)
"""


class Load:
    """Threads that invoke the endpoint all the time. A result is right, a failed connection, or a 503."""

    def __init__(self, url: str) -> None:
        self._runtime = client_of(url, "sagemaker-runtime")
        self._stopped = threading.Event()
        self.right, self.unavailable, self.wrong = 0, 0, list[str]()
        self._threads = [threading.Thread(target=self._run, args=(first,)) for first in (1, 1_000_000)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        while not self._stopped.is_set():
            number += 1
            try:
                found = self._runtime.invoke_endpoint(
                    EndpointName="squares", ContentType="application/json", Body=str(number)
                )
                square = json.loads(found["Body"].read())
            except ReadTimeoutError as error:
                self.wrong.append(f"{number}: {error}")
            except UNAVAILABLE:
                self.unavailable += 1
                self._stopped.wait(0.05)  # the service is away
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 503:
                    self.unavailable += 1
                else:
                    self.wrong.append(f"{number}: {error}")
            else:
                if square == number * number:
                    self.right += 1
                else:
                    self.wrong.append(f"{number}: {square}")


class Waiter(threading.Thread):
    """A waiter of botocore in a thread of its own, whose client tries again while the service is away."""

    def __init__(self, url: str, name: str, **parameters: str) -> None:
        super().__init__(name=name)
        self._waiter = client_of(url, "sagemaker", attempts=20).get_waiter(name)
        self._parameters, self.problem = parameters, ""

    def run(self) -> None:
        try:
            self._waiter.wait(**self._parameters, WaiterConfig={"Delay": 1, "MaxAttempts": int(SECONDS)})
        except (WaiterError, ClientError, *UNAVAILABLE) as error:
            self.problem = str(error)


def until(read: Callable[[], Any], is_done: Callable[[Any], bool]) -> Any:
    end = time.monotonic() + SECONDS
    while not is_done(found := read()):
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


class KilledService:
    """A service that is killed and started again at the same address."""

    def __init__(self, home: ServiceHome) -> None:
        self.home, self._port = home, free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process = ServiceProcess(home, self._port)

    def restart(self) -> None:
        """Kill it and start another one, which does not answer yet."""
        self._process.kill()
        self._process = ServiceProcess(self.home, self._port, wait=False)

    def wait(self) -> None:
        """Wait until it answers."""
        self._process.wait()

    def end(self) -> None:
        """End it and all that it has started."""
        self._process.kill()
        end_processes(self.home)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[KilledService]:
    service = KilledService(ServiceHome(tmp_path / "home"))
    yield service
    service.end()


def create_all(url: str, sagemaker: Any) -> None:
    """Create a tuning job, an endpoint and a transform job of the same model."""
    s3 = client_of(url, "s3")
    s3.create_bucket(Bucket="models")
    s3.put_object(Bucket="models", Key="squares.tar.gz", Body=archive({SCRIPT: SQUARE}))
    lines = "".join(f"{number}\n" for number in range(RECORDS))
    s3.put_object(Bucket="models", Key="in/numbers", Body=lines.encode())
    container = {
        "Image": IMAGE,
        "ModelDataUrl": "s3://models/squares.tar.gz",
        "Environment": {"SAGEMAKER_PROGRAM": "inference.py"},
    }
    sagemaker.create_model(ModelName="squares", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {"VariantName": "A", "ModelName": "squares", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    output = {"OutputConfig": {"S3OutputPath": "s3://models/results"}}
    sagemaker.create_endpoint_config(
        EndpointConfigName="squares", ProductionVariants=[variant], AsyncInferenceConfig=output
    )
    sagemaker.create_endpoint(EndpointName="squares", EndpointConfigName="squares")
    request = tuning_request("hpo", jobs=CHILDREN, Strategy="Bayesian")
    request["TrainingJobDefinition"]["StaticHyperParameters"] |= {"pause": "0.4", "epochs": str(EPOCHS)}
    sagemaker.create_hyper_parameter_tuning_job(**request)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://models/in/"}}
    sagemaker.create_transform_job(
        TransformJobName="squares",
        ModelName="squares",
        BatchStrategy="SingleRecord",
        TransformInput={"DataSource": source, "ContentType": "application/json", "SplitType": "Line"},
        TransformOutput={"S3OutputPath": "s3://models/out", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )


def invoke_later(url: str, number: int) -> tuple[int, str]:
    """Send an asynchronous invocation; return its number and the key of its result."""
    client_of(url, "s3").put_object(Bucket="models", Key=f"async/{number}", Body=str(number).encode())
    address = client_of(url, "sagemaker-runtime").invoke_endpoint_async(
        EndpointName="squares", ContentType="application/json", InputLocation=f"s3://models/async/{number}"
    )["OutputLocation"]
    return number, address.removeprefix("s3://models/")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_20_kills_while_everything_runs(service: KilledService) -> None:
    moments, url = random.Random(11), service.url
    sagemaker = client_of(url, "sagemaker")
    create_all(url, sagemaker)
    waiters = [
        Waiter(url, "endpoint_in_service", EndpointName="squares"),
        Waiter(url, "transform_job_completed_or_stopped", TransformJobName="squares"),
    ]
    for waiter in waiters:
        waiter.start()
    status = until(
        lambda: sagemaker.describe_endpoint(EndpointName="squares")["EndpointStatus"],
        lambda found: found != "Creating",
    )
    assert status == "InService"
    later: list[tuple[int, str]] = []
    with Load(url) as load:
        for number in range(KILLS):
            if number % 2:  # the service answers, and has just accepted a request
                service.wait()
                later.append(invoke_later(url, number))
            time.sleep(moments.uniform(0, 1.5))  # a random moment: what is tested is any of them
            service.restart()
        service.wait()
        until(
            lambda: sagemaker.describe_hyper_parameter_tuning_job(**TUNING)["HyperParameterTuningJobStatus"],
            lambda found: found != "InProgress",
        )
    for waiter in waiters:
        waiter.join(SECONDS)
    assert [waiter.problem for waiter in waiters if waiter.problem or waiter.is_alive()] == []
    assert load.wrong == []
    assert load.right > KILLS
    assert load.unavailable > 0
    check_tuning(service.home, sagemaker)
    check_endpoint(url, sagemaker, later)
    check_transform(url, sagemaker)
    check_files(service.home, sagemaker)


def check_files(home: ServiceHome, sagemaker: Any) -> None:
    """Check that nothing but results, logs and requests is left."""
    sagemaker.delete_endpoint(EndpointName="squares")
    until(lambda: [*home.endpoints.glob("*/instances")], lambda found: not found)
    until(lambda: [*home.jobs.glob("*/*/work"), *home.jobs.glob("*/*/model")], lambda found: not found)


def check_tuning(home: ServiceHome, sagemaker: Any) -> None:
    """Check that each training job ran once, and counters and the best one."""
    found = sagemaker.describe_hyper_parameter_tuning_job(**TUNING)
    assert found["HyperParameterTuningJobStatus"] == "Completed"
    assert found["TrainingJobStatusCounters"]["Completed"] == found["ObjectiveStatusCounters"]["Succeeded"] == CHILDREN
    listed = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(**TUNING, MaxResults=100)
    children = {child["TrainingJobName"]: child for child in listed["TrainingJobSummaries"]}
    assert sorted(name[:7] for name in children) == [f"hpo-{number:03d}" for number in range(1, CHILDREN + 1)]
    jobs = sagemaker.list_training_jobs(MaxResults=100)["TrainingJobSummaries"]
    assert sorted(job["TrainingJobName"] for job in jobs) == sorted(children)
    values = {}
    for name, child in children.items():
        values[name] = child["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        assert values[name] == pytest.approx(float(child["TunedHyperParameters"]["x"]) + 1 / EPOCHS)
        lines = (home.jobs / "training-job" / name / "log.txt").read_text().splitlines()
        assert len(lines) == EPOCHS, "its process was started once"
    assert found["BestTrainingJob"]["TrainingJobName"] == min(values, key=lambda name: values[name])


def check_endpoint(url: str, sagemaker: Any, later: list[tuple[int, str]]) -> None:
    """Check that the endpoint answers, and the results of asynchronous invocations."""
    assert sagemaker.describe_endpoint(EndpointName="squares")["EndpointStatus"] == "InService"
    answer = client_of(url, "sagemaker-runtime").invoke_endpoint(
        EndpointName="squares", ContentType="application/json", Body="12"
    )
    assert answer["Body"].read() == b"144"
    s3 = client_of(url, "s3")
    keys = until(
        lambda: {found["Key"] for found in s3.list_objects_v2(Bucket="models", Prefix="results/").get("Contents", [])},
        lambda found: {key for _, key in later} <= found,
    )
    assert keys == {key for _, key in later}
    for number, key in later:
        assert s3.get_object(Bucket="models", Key=key)["Body"].read() == str(number * number).encode()


def check_transform(url: str, sagemaker: Any) -> None:
    """Check the result of the transform job."""
    assert sagemaker.describe_transform_job(TransformJobName="squares")["TransformJobStatus"] == "Completed"
    body = client_of(url, "s3").get_object(Bucket="models", Key="out/numbers.out")["Body"].read()
    assert body.decode().split() == [str(number * number) for number in range(RECORDS)]
