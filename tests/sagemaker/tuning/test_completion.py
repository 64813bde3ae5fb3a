"""Completion criteria, limits, and the ends of tuning jobs, on training jobs that have ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from clearsight_sagemaker.resources.tuning_job_requests import checked_tuning_request
from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.state.service_state import TUNING_JOB
from clearsight_sagemaker.tuning.child import ChildEnd, TuningChild
from clearsight_sagemaker.tuning.completion import ALL_FAILED, completion_details, early_end, final_end
from clearsight_sagemaker.tuning.tuning_job import TuningJob
from tests.sagemaker.tuning.tuning_requests import tuning_request

NOW = 2000.0
LOSS = {"Type": "Minimize", "MetricName": "loss"}


def tuning_job(values: Sequence[float | None], status: str = "Completed", **config: Any) -> TuningJob:
    """Return a tuning job of second 1000 whose training jobs ended with these values. status: of all."""
    request, _ = checked_tuning_request(tuning_request("hpo", jobs=50, **config))
    children = [
        TuningChild(
            number=number,
            name=f"hpo-{number}",
            definition="",
            tuned={"x": "1.5"},
            is_created=True,
            end=ChildEnd(status=status, value=value, ended=1000.0 + number),
        ).to_json()
        for number, value in enumerate(values, 1)
    ]
    document = {"request": request, "arn": "arn", "seed": 1, "imported": [], "children": children}
    return TuningJob(Resource(kind=TUNING_JOB, name="hpo", status="InProgress", document=document, created=1000.0))


def criteria(**members: Any) -> dict[str, Any]:
    return {"TuningJobCompletionCriteria": members}


def test_nothing_ends_a_tuning_job_without_criteria() -> None:
    assert early_end(tuning_job([0.5] * 30), NOW) is None


def test_a_target_is_reached_by_the_better_direction() -> None:
    target = criteria(TargetObjectiveMetricValue=0.5)
    assert early_end(tuning_job([0.6], **target), NOW) is None
    end = early_end(tuning_job([0.6, 0.5], **target), NOW)
    assert end is not None
    assert (end.status, end.cause) == ("Completed", "the objective has reached 0.5, and its target is 0.5")
    maximize = {"HyperParameterTuningJobObjective": {**LOSS, "Type": "Maximize"}, **target}
    assert early_end(tuning_job([0.4], **maximize), NOW) is None
    assert early_end(tuning_job([0.6], **maximize), NOW) is not None


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([0.5], 0),
        ([0.5, 0.6, 0.7], 2),
        ([0.5, 0.6, 0.4], 0),
        ([0.5, 0.498], 1),  # less than 1 per cent better
        ([0.5, None, 0.6], 1),
        ([], 0),
    ],
)
def test_training_jobs_that_do_not_improve(values: list[float | None], count: int) -> None:
    job = tuning_job(values, **criteria(BestObjectiveNotImproving={"MaxNumberOfTrainingJobsNotImproving": 3}))
    assert completion_details(job)["NumberOfTrainingJobsObjectiveNotImproving"] == count
    assert early_end(job, NOW) is None


def test_too_many_training_jobs_that_do_not_improve() -> None:
    job = tuning_job(
        [0.5, 0.6, 0.6, 0.6], **criteria(BestObjectiveNotImproving={"MaxNumberOfTrainingJobsNotImproving": 3})
    )
    end = early_end(job, NOW)
    assert end is not None
    assert end.cause == "3 training jobs in a row have not improved the objective"


def test_convergence_is_found_always_and_ends_a_tuning_job_that_asks_for_it() -> None:
    values = [0.5, *[0.6] * 10]
    assert completion_details(tuning_job(values[:-1]))["ConvergenceDetectedTime"] is None
    assert completion_details(tuning_job(values))["ConvergenceDetectedTime"] == 1011.0
    assert early_end(tuning_job(values), NOW) is None
    assert early_end(tuning_job(values, **criteria(ConvergenceDetected={"CompleteOnConvergence": "Enabled"})), NOW)


def test_time_is_over() -> None:
    limits = {"MaxNumberOfTrainingJobs": 50, "MaxParallelTrainingJobs": 2, "MaxRuntimeInSeconds": 600}
    job = tuning_job([0.5], ResourceLimits=limits)
    assert early_end(job, 1599.0) is None
    end = early_end(job, 1600.0)
    assert end is not None
    assert (end.status, end.cause) == ("Completed", "MaxRuntimeInSeconds (600) is over")


def test_five_failures_without_a_success_are_enough() -> None:
    assert early_end(tuning_job([None] * 4, "Failed"), NOW) is None
    end = early_end(tuning_job([None] * 5, "Failed"), NOW)
    assert end is not None
    assert end.reason.startswith("No training job succeeded after 5 attempts. Please take a look at the training job")
    assert early_end(tuning_job([None] * 5, "Stopped"), NOW) is None


def test_ends_by_what_the_training_jobs_have() -> None:
    assert final_end(tuning_job([None, 0.5])).status == "Completed"
    failed = final_end(tuning_job([None, None], "Failed"))
    assert (failed.status, failed.reason) == ("Failed", ALL_FAILED)
    silent = final_end(tuning_job([None, None]))
    assert silent.status == "Failed"
    assert silent.reason.startswith("No objective metrics found after running 2 training jobs.")
    assert final_end(tuning_job([None], "Stopped")).status == "Completed"


def test_a_failed_training_job_has_no_objective() -> None:
    job = tuning_job([0.1], "Failed")
    assert job.best is None
    assert job.objective_counts() == {"Succeeded": 0, "Pending": 0, "Failed": 1}
    assert tuning_job([0.1], "Stopped").objective_counts()["Succeeded"] == 1
