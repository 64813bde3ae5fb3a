"""SDK v2's tuner against the service: fit, analytics, the best estimator, attach, a warm start, pages and errors."""

from __future__ import annotations

import json

from tests.sagemaker.clients.conftest import Clients

TUNE = """
import boto3, json, sagemaker
from sagemaker.analytics import HyperparameterTuningJobAnalytics
from sagemaker.pytorch import PyTorch
from sagemaker.tuner import (
    CategoricalParameter, ContinuousParameter, HyperparameterTuner, IntegerParameter, WarmStartConfig, WarmStartTypes,
)

open("train.py", "w").write("print('never run')")
estimator = PyTorch(
    entry_point="train.py", role=sagemaker.get_execution_role(), framework_version="1.9", py_version="py38",
    instance_count=1, instance_type="ml.g4dn.xlarge", hyperparameters={"script": "score"},
)
ranges = {
    "x": ContinuousParameter(1.0, 2.0), "epochs": IntegerParameter(2, 4), "batch_size": CategoricalParameter([32, 64]),
}

def tuner_of(**more):
    return HyperparameterTuner(
        estimator, "loss", ranges, [{"Name": "loss", "Regex": "loss=([0-9.]+)"}], max_jobs=4, max_parallel_jobs=2,
        objective_type="Minimize", base_tuning_job_name="hpo", early_stopping_type="Auto", **more,
    )

tuner = tuner_of()
tuner.fit(wait=True)
name = tuner.latest_tuning_job.name
best = tuner.best_training_job()
frame = HyperparameterTuningJobAnalytics(name).dataframe()
frame = frame.sort_values("FinalObjectiveValue")
print("BEST", best == frame.iloc[0]["TrainingJobName"])
print("FRAME", len(frame), *sorted(frame.columns))
print("EPOCHS", sorted({float(value).is_integer() for value in frame["epochs"]}), frame["batch_size"].iloc[0][0])
print("RANGES", json.dumps(tuner.analytics().tuning_ranges["x"]))
print("ESTIMATOR", json.dumps(tuner.best_estimator().hyperparameters()))

attached = HyperparameterTuner.attach(name)
print("ATTACHED", attached.best_training_job() == best, attached.max_jobs, attached.early_stopping_type)
start = WarmStartConfig(WarmStartTypes.IDENTICAL_DATA_AND_ALGORITHM, parents={name})
second = tuner_of(warm_start_config=start)
second.fit(wait=False)  # in the same minute: its name is another one
second.stop_tuning_job()
second.wait()
found = second.describe()
print("WARM", found["HyperParameterTuningJobStatus"], found["OverallBestTrainingJob"]["TrainingJobName"] == best)
second.stop_tuning_job()  # the SDK lets this pass
print("NAMES", name != second.latest_tuning_job.name, len(name))
client = boto3.client("sagemaker")
pages = client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
found = pages.paginate(HyperParameterTuningJobName=name, PaginationConfig={"PageSize": 3})
print("PAGES", [len(page["TrainingJobSummaries"]) for page in found])
# Pydantic classes, which refuse nulls and empty structures that botocore lets pass; v3 of the SDK has the same.
from sagemaker_core.main.resources import HyperParameterTuningJob
shaped = HyperParameterTuningJob.get(hyper_parameter_tuning_job_name=second.latest_tuning_job.name)
listed = [job for job in HyperParameterTuningJob.get_all(name_contains="hpo")]
print("SHAPES", shaped.hyper_parameter_tuning_job_status, len(listed))
try:
    client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="nothing")
except client.exceptions.ResourceNotFound as error:
    print("ERROR", error.response["Error"]["Message"])
"""


def test_a_notebook_tunes(clients: Clients) -> None:
    output = clients.python(TUNE)
    found = dict(line.split(" ", 1) for line in output.splitlines() if line.split(" ")[0].isupper())
    assert found["BEST"] == "True"
    columns = ("FinalObjectiveValue", "TrainingElapsedTimeSeconds", "TrainingEndTime", "TrainingJobName")
    more = ("TrainingJobStatus", "TrainingStartTime", "batch_size", "epochs", "x")
    assert found["FRAME"] == " ".join(("4", *columns, *more))
    assert found["EPOCHS"] == '[True] "', "integers become numbers, and categories keep their quotes"
    assert json.loads(found["RANGES"]) == {"Name": "x", "MinValue": "1.0", "MaxValue": "2.0", "ScalingType": "Auto"}
    hyperparameters = json.loads(found["ESTIMATOR"])
    assert hyperparameters["_tuning_objective_metric"] == '"loss"'
    assert hyperparameters["batch_size"] in ('"32"', '"64"')
    assert 1 <= float(hyperparameters["x"]) <= 2
    assert found["ATTACHED"] == "True 4 Auto"
    assert found["WARM"] == "Stopped True"
    assert found["NAMES"] == "True 17"
    assert found["PAGES"] == "[3, 1]"
    assert found["SHAPES"] == "Stopped 2"
    assert found["ERROR"] == "Requested resource not found."
