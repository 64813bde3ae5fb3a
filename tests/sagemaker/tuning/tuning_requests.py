"""Requests of tuning jobs, and the wait for their end."""

from __future__ import annotations

import time
from typing import Any

from tests.sagemaker.local_service import IMAGE, WAIT_SECONDS, LocalService

LOSS = {"Type": "Minimize", "MetricName": "loss"}
METRICS = [{"Name": "loss", "Regex": r"loss=([0-9\.]+)"}]


def continuous(name: str, low: float, high: float, scaling: str = "Linear") -> dict[str, str]:
    return {"Name": name, "MinValue": str(low), "MaxValue": str(high), "ScalingType": scaling}


def definition(script: str = "score", **members: Any) -> dict[str, Any]:
    """Return a training job definition as the SDK sends it. script: of the fake job."""
    return {
        "StaticHyperParameters": {"script": script, "sagemaker_program": '"train.py"'},
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File", "MetricDefinitions": METRICS},
        "RoleArn": "arn:aws:iam::111122223333:role/service-role/Trainer",
        "OutputDataConfig": {"S3OutputPath": "s3://dogs/models/"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "HyperParameterTuningResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
        **members,
    }


def tuning_request(
    name: str, *, jobs: int = 3, parallel: int = 2, script: str = "score", **config: Any
) -> dict[str, Any]:
    """Return a CreateHyperParameterTuningJob request. config: members of HyperParameterTuningJobConfig."""
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "RandomSeed": 7,
            "ResourceLimits": {"MaxNumberOfTrainingJobs": jobs, "MaxParallelTrainingJobs": parallel},
            "HyperParameterTuningJobObjective": LOSS,
            "ParameterRanges": {"ContinuousParameterRanges": [continuous("x", 1.0, 2.0)]},
            **config,
        },
        "TrainingJobDefinition": definition(script),
    }


def ended_tuning_job(service: LocalService, name: str) -> dict[str, Any]:
    """Return the description of a tuning job once it has ended."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        found = service.call("DescribeHyperParameterTuningJob", HyperParameterTuningJobName=name)
        if found["HyperParameterTuningJobStatus"] in ("Completed", "Failed", "Stopped"):
            return found
        assert time.monotonic() < end, f"{name}: {found['TrainingJobStatusCounters']}"
        time.sleep(0.01)  # the threads of the service need the processor


def children(service: LocalService, name: str, **parameters: Any) -> list[dict[str, Any]]:
    """Return the summaries of the training jobs of a tuning job."""
    found = service.call(
        "ListTrainingJobsForHyperParameterTuningJob",
        HyperParameterTuningJobName=name,
        **{"MaxResults": 100, "SortBy": "Name", **parameters},
    )
    return list(found["TrainingJobSummaries"])
