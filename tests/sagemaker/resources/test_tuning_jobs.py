"""Tuning jobs over the API: what clients read of them from creation to the end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.sagemaker.local_service import WAIT_SECONDS, LocalService, job_request, local_service
from tests.sagemaker.tuning.tuning_requests import (
    LOSS,
    children,
    continuous,
    definition,
    ended_tuning_job,
    tuning_request,
)

CREATE, DESCRIBE = "CreateHyperParameterTuningJob", "DescribeHyperParameterTuningJob"
LIST, STOP = "ListTrainingJobsForHyperParameterTuningJob", "StopHyperParameterTuningJob"
NO_JOB = ("ResourceNotFound", "Requested resource not found.")
CATEGORIES = {"CategoricalParameterRanges": [{"Name": "x", "Values": ['"1.5"', "1.25"]}]}


@pytest.fixture(scope="module")
def finished(service: LocalService) -> dict[str, Any]:
    """A tuning job of 4 training jobs with a continuous and a categorical hyperparameter."""
    ranges = {
        "ContinuousParameterRanges": [continuous("x", 1.0, 2.0)],
        "CategoricalParameterRanges": [{"Name": "batch_size", "Values": ['"32"', '"64"']}],
    }
    request = tuning_request("finished", jobs=4, ParameterRanges=ranges)
    request["TrainingJobDefinition"]["RoleArn"] = "arn:aws:iam::111122223333:role/clearsight"
    service.call(CREATE, **request, Tags=[{"Key": "team", "Value": "dogs"}])
    return ended_tuning_job(service, "finished")


def named(name: str) -> dict[str, str]:
    return {"HyperParameterTuningJobName": name}


def until(service: LocalService, name: str, **counters: int) -> None:
    """Wait until counters of training jobs have some values."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        found = service.call(DESCRIBE, **named(name))["TrainingJobStatusCounters"]
        if counters.items() <= found.items():
            return
        assert time.monotonic() < end, found
        time.sleep(0.01)  # the threads of the service need the processor


def test_a_tuning_job_runs_to_its_end(finished: dict[str, Any]) -> None:
    assert finished["HyperParameterTuningJobStatus"] == "Completed"
    assert finished["TrainingJobStatusCounters"]["Completed"] == 4
    assert finished["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}
    assert finished["CreationTime"] < finished["HyperParameterTuningEndTime"]
    assert finished["ConsumedResources"]["RuntimeInSeconds"] >= 0
    assert finished["TuningJobCompletionDetails"]["NumberOfTrainingJobsObjectiveNotImproving"] < 4


def test_the_best_training_job_has_the_last_value_of_its_metric(
    service: LocalService, finished: dict[str, Any]
) -> None:
    found = children(service, "finished", SortBy="FinalObjectiveMetricValue")
    assert len(found) == 4
    metric = "FinalHyperParameterTuningJobObjectiveMetric"
    values = [child[metric]["Value"] for child in found]
    assert values == sorted(values)
    assert finished["BestTrainingJob"] == found[0]
    for child in found:
        assert child[metric]["Value"] == pytest.approx(float(child["TunedHyperParameters"]["x"]) + 1 / 3)
        assert child["ObjectiveStatus"] == "Succeeded"
        assert child["TrainingStartTime"] <= child["TrainingEndTime"]


def test_training_jobs_are_ordinary_ones(service: LocalService, finished: dict[str, Any]) -> None:
    names = [child["TrainingJobName"] for child in children(service, "finished")]
    assert [name[: len("finished-001")] for name in names] == [f"finished-00{number}" for number in (1, 2, 3, 4)]
    assert all(len(name.rpartition("-")[2]) == 8 for name in names)
    tuned = finished["BestTrainingJob"]["TunedHyperParameters"]
    found = service.call("DescribeTrainingJob", TrainingJobName=finished["BestTrainingJob"]["TrainingJobName"])
    assert found["TuningJobArn"] == finished["HyperParameterTuningJobArn"]
    assert found["HyperParameters"] == {
        "script": "score",
        "sagemaker_program": '"train.py"',
        "_tuning_objective_metric": '"loss"',
        **tuned,
    }
    assert tuned["batch_size"] in ('"32"', '"64"')
    assert found["ResourceConfig"] == {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
    for arn in (found["TrainingJobArn"], finished["HyperParameterTuningJobArn"]):
        assert service.call("ListTags", ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "dogs"}]


def test_members_that_clients_read_are_always_there(service: LocalService, finished: dict[str, Any]) -> None:
    config, one = finished["HyperParameterTuningJobConfig"], finished["TrainingJobDefinition"]
    assert config["TrainingJobEarlyStoppingType"] == "Off"
    assert config["ParameterRanges"]["IntegerParameterRanges"] == []
    assert one["ResourceConfig"]["VolumeSizeInGB"] == 30
    assert one["StaticHyperParameters"]["_tuning_objective_metric"] == '"loss"'
    assert one["OutputDataConfig"]["KmsKeyId"] == ""
    service.call(CREATE, **tuning_request("young", jobs=1, script="wait"))
    young = service.call(DESCRIBE, **named("young"))
    assert young["ObjectiveStatusCounters"]["Failed"] == 0
    assert "BestTrainingJob" not in young
    service.call(STOP, **named("young"))
    ended_tuning_job(service, "young")


def test_a_seed_gives_the_same_values_again(service: LocalService) -> None:
    for name in ("seeded-1", "seeded-2"):
        service.call(CREATE, **tuning_request(name, jobs=3))
        ended_tuning_job(service, name)
    first, second = ([child["TunedHyperParameters"] for child in children(service, f"seeded-{n}")] for n in (1, 2))
    assert first == second
    assert len({values["x"] for values in first}) == 3


def test_a_grid_tries_every_combination_once(service: LocalService) -> None:
    request = tuning_request("grid", Strategy="Grid", ParameterRanges=CATEGORIES, ResourceLimits={})
    request["HyperParameterTuningJobConfig"]["ResourceLimits"] = {"MaxParallelTrainingJobs": 2}
    request["TrainingJobDefinition"] = definition("complete")
    service.call(CREATE, **request)
    found = ended_tuning_job(service, "grid")
    assert found["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 2
    assert [child["TunedHyperParameters"]["x"] for child in children(service, "grid")] == ['"1.5"', "1.25"]


def test_each_of_several_definitions_is_tried(service: LocalService) -> None:
    request = tuning_request("several", jobs=3, Strategy="Bayesian")
    config = request["HyperParameterTuningJobConfig"]
    ranges = config.pop("ParameterRanges")
    del config["HyperParameterTuningJobObjective"], request["TrainingJobDefinition"]
    parts = [definition(DefinitionName=n, TuningObjective=LOSS, HyperParameterRanges=ranges) for n in ("one", "two")]
    service.call(CREATE, **request, TrainingJobDefinitions=parts)
    found = ended_tuning_job(service, "several")
    assert "TrainingJobDefinition" not in found
    assert [part["DefinitionName"] for part in found["TrainingJobDefinitions"]] == ["one", "two"]
    assert [child["TrainingJobDefinitionName"] for child in children(service, "several")][:2] == ["one", "two"]
    assert found["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Type"] == "Minimize"


def test_a_stop_ends_what_runs(service: LocalService) -> None:
    service.call(CREATE, **tuning_request("stopped", jobs=5, script="wait"))
    until(service, "stopped", InProgress=2)
    service.call(STOP, **named("stopped"))
    assert service.call(DESCRIBE, **named("stopped"))["HyperParameterTuningJobStatus"] in ("Stopping", "Stopped")
    found = ended_tuning_job(service, "stopped")
    assert found["HyperParameterTuningJobStatus"] == "Stopped"
    assert found["TrainingJobStatusCounters"]["Stopped"] == 2
    expected = "The request was rejected because the hyperparameter tuning job is in status Stopped."
    assert service.error(STOP, **named("stopped")) == ("ValidationException", expected)


def test_all_training_jobs_fail(service: LocalService) -> None:
    service.call(CREATE, **tuning_request("failing", jobs=2, script="fail"))
    found = ended_tuning_job(service, "failing")
    assert found["HyperParameterTuningJobStatus"] == "Failed"
    assert found["FailureReason"] == (
        "All training jobs failed. Please take a look at the training jobs failures to get more details."
    )
    assert found["TrainingJobStatusCounters"]["NonRetryableError"] == 2
    [child, _] = children(service, "failing")
    assert (child["ObjectiveStatus"], child["FailureReason"][:15]) == ("Failed", "AlgorithmError:")


def test_the_median_rule_stops_a_weak_training_job_whose_value_counts(service: LocalService) -> None:
    # The values rise with their number: the fourth is worse than the median of those before.
    request = tuning_request("weak", jobs=4, parallel=1, Strategy="Grid", TrainingJobEarlyStoppingType="Auto")
    values = [{"Name": "x", "Values": ["1.0", "1.1", "1.2", "9.0"]}]
    request["HyperParameterTuningJobConfig"]["ParameterRanges"] = {"CategoricalParameterRanges": values}
    request["TrainingJobDefinition"]["StaticHyperParameters"] |= {"pause": "0.002", "endless_above": "5"}
    service.call(CREATE, **request)
    found = ended_tuning_job(service, "weak")
    assert found["TrainingJobStatusCounters"]["Completed"] == 3
    last = children(service, "weak")[-1]
    assert (last["TrainingJobStatus"], last["ObjectiveStatus"]) == ("Stopped", "Succeeded")
    description = service.call("DescribeTrainingJob", TrainingJobName=last["TrainingJobName"])
    messages = [step["StatusMessage"] for step in description["SecondaryStatusTransitions"]]
    assert any("is worse than the median of the earlier training jobs" in message for message in messages)


def test_hyperband_stops_at_its_largest_resource(service: LocalService) -> None:
    settings = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 3}}
    request = tuning_request("band", jobs=1, Strategy="Hyperband", StrategyConfig=settings)
    request["TrainingJobDefinition"]["StaticHyperParameters"] |= {"epochs": "100000", "pause": "0.01"}
    service.call(CREATE, **request)
    ended_tuning_job(service, "band")
    [child] = children(service, "band")
    assert (child["TrainingJobStatus"], child["ObjectiveStatus"]) == ("Stopped", "Succeeded")


def test_a_rule_that_finds_something_stops_its_training_job(service: LocalService) -> None:
    tags = [{"Key": "clearsight:stop-on-findings", "Value": "LossNotDecreasing"}]
    service.call(CREATE, **tuning_request("found", jobs=1, script="wait"), Tags=tags)
    until(service, "found", InProgress=1)
    [child] = children(service, "found")
    end = time.monotonic() + WAIT_SECONDS
    # "Creating" until its folder is there.
    while (
        row := service.state.table.get("training-job", child["TrainingJobName"])
    ) is None or row.status == "Creating":
        assert time.monotonic() < end
        time.sleep(0.01)
    folder = service.state.training_jobs.folder(child["TrainingJobName"])
    while not folder.path.is_dir():  # which comes after the row of the job
        assert time.monotonic() < end
    folder.append("rule", configuration="LossNotDecreasing", status="IssuesFound", details="", profiler=False)
    ended_tuning_job(service, "found")
    [child] = children(service, "found")
    assert child["TrainingJobStatus"] == "Stopped"
    _, message = service.error(CREATE, **tuning_request("wrong"), Tags=[{**tags[0], "Value": "Sorrow"}])
    assert "names the rule 'Sorrow'. Allowed, with blanks between them: ExplodingTensor, LossNotDecreasing" in message


def test_a_warm_start_begins_with_what_its_parents_found(service: LocalService, finished: dict[str, Any]) -> None:
    config = finished["HyperParameterTuningJobConfig"]["ParameterRanges"]
    start = {
        "ParentHyperParameterTuningJobs": [named("finished")],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    request = tuning_request("warm", jobs=1, Strategy="Bayesian", ParameterRanges=config)
    service.call(CREATE, **request, WarmStartConfig=start)
    found = ended_tuning_job(service, "warm")
    overall, best = found["OverallBestTrainingJob"], found["BestTrainingJob"]
    metric = "FinalHyperParameterTuningJobObjectiveMetric"
    assert overall[metric]["Value"] == min(finished["BestTrainingJob"][metric]["Value"], best[metric]["Value"])
    assert overall["TuningJobName"] in ("finished", "warm")
    assert found["WarmStartConfig"] == start
    row = service.state.table.get("hyper-parameter-tuning-job", "warm")
    assert row is not None
    assert len(row.document["imported"]) == 4
    transfer = {**start, "WarmStartType": "TransferLearning"}
    service.call(CREATE, **{**request, **named("transfer")}, WarmStartConfig=transfer)
    assert "OverallBestTrainingJob" not in ended_tuning_job(service, "transfer")


@pytest.mark.parametrize(
    ("parent", "members", "text"),
    [
        ("nothing", {}, "The parent hyperparameter tuning job nothing was not found"),
        ("finished", {"HyperParameterTuningJobObjective": {**LOSS, "Type": "Maximize"}},
         "its objective is Minimize loss, and that of this job Maximize loss"),
        ("finished", {}, "it has 4 static and tuned hyperparameters in all, and this job has 3"),
        ("finished", {"ParameterRanges": {"IntegerParameterRanges": [continuous("x", 1, 2)],
                                          "CategoricalParameterRanges": [{"Name": "b", "Values": ["1"]}]}},
         "its hyperparameter 'x' is continuous, and that of this job an integer"),
    ],
)  # fmt: skip
def test_a_parent_that_does_not_fit(
    service: LocalService, finished: dict[str, Any], parent: str, members: dict[str, Any], text: str
) -> None:
    start = {"ParentHyperParameterTuningJobs": [named(parent)], "WarmStartType": "TransferLearning"}
    request = tuning_request("refused", **members)
    assert text in service.error(CREATE, **request, WarmStartConfig=start)[1]


def test_pages_of_training_jobs(service: LocalService, finished: dict[str, Any]) -> None:
    for sort_by, member in (
        ("CreationTime", "CreationTime"),
        ("Name", "TrainingJobName"),
        ("Status", "TrainingJobStatus"),
    ):
        found: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        while True:
            page = service.call(
                LIST, **named("finished"), MaxResults=3, SortBy=sort_by, SortOrder="Descending", **token
            )
            found += page["TrainingJobSummaries"]
            if "NextToken" not in page:
                break
            token = {"NextToken": page["NextToken"]}
        assert len({child["TrainingJobName"] for child in found}) == 4
        values = [child[member] for child in found]
        assert values == sorted(values, reverse=True)
    newest = service.call(LIST, **named("finished"))["TrainingJobSummaries"]
    numbers = [child["TrainingJobName"].split("-")[-2] for child in newest]
    assert numbers == ["004", "003", "002", "001"], "the newest first, without an order in the request"
    assert children(service, "finished", StatusEquals="Failed") == []
    code, message = service.error(LIST, **named("finished"), NextToken="x")
    assert (code, "not one that this service returned" in message) == ("ValidationException", True)


def test_lists_of_tuning_jobs(service: LocalService, finished: dict[str, Any]) -> None:
    page = service.call("ListHyperParameterTuningJobs", NameContains="finish", StatusEquals="Completed")
    [summary] = page["HyperParameterTuningJobSummaries"]
    assert summary["HyperParameterTuningJobArn"] == finished["HyperParameterTuningJobArn"]
    assert summary["Strategy"] == "Random"
    assert summary["ObjectiveStatusCounters"]["Succeeded"] == 4


def test_a_tuning_job_is_found_by_its_properties(service: LocalService, finished: dict[str, Any]) -> None:
    filters = [
        {"Name": "HyperParameterTuningJobConfig.Strategy", "Operator": "Equals", "Value": "Random"},
        {"Name": "TrainingJobStatusCounters.Completed", "Operator": "GreaterThan", "Value": "3"},
    ]
    found = service.call("Search", Resource="HyperParameterTuningJob", SearchExpression={"Filters": filters})
    assert [result["HyperParameterTuningJob"]["HyperParameterTuningJobName"] for result in found["Results"]] == [
        "finished"
    ]


def test_a_tuning_job_that_has_ended_is_deleted(service: LocalService) -> None:
    service.call(CREATE, **tuning_request("brief", jobs=1, script="wait"))
    until(service, "brief", InProgress=1)
    assert "is in status InProgress" in service.error("DeleteHyperParameterTuningJob", **named("brief"))[1]
    [child] = children(service, "brief")
    service.call(STOP, **named("brief"))
    ended_tuning_job(service, "brief")
    service.call("DeleteHyperParameterTuningJob", **named("brief"))
    assert service.error(DESCRIBE, **named("brief")) == NO_JOB
    description = service.call("DescribeTrainingJob", TrainingJobName=child["TrainingJobName"])
    assert description["TrainingJobStatus"] == "Stopped"


def test_names(service: LocalService, finished: dict[str, Any]) -> None:
    code, message = service.error(CREATE, **tuning_request("finished"))
    assert (code, "must be unique within an AWS account and region" in message) == ("ResourceInUse", True)
    for operation in (DESCRIBE, LIST, STOP, "DeleteHyperParameterTuningJob"):
        assert service.error(operation, **named("nothing")) == NO_JOB
    _, message = service.error(CREATE, **tuning_request("x" * 33))
    assert "Member must have length less than or equal to 32" in message


ALGORITHM = definition()["AlgorithmSpecification"]


@pytest.mark.parametrize(
    ("config", "members", "text"),
    [
        ({}, {"AlgorithmSpecification": {**ALGORITHM, "MetricDefinitions": []}},
         "A metric is required for this hyperparameter tuning job objective."),
        ({"HyperParameterTuningJobObjective": {**LOSS, "MetricName": "accuracy"}}, {},
         "[accuracy], isn't valid for the algorithm. Its metric definitions have loss."),
        ({}, {"StaticHyperParameters": {"x": "1"}}, "The hyperparameter 'x' is both static and tuned"),
        ({}, {"AlgorithmSpecification": {**ALGORITHM, "TrainingImage": "x/tensorflow-training:2.3"}}, "tensorflow"),
        ({"ParameterRanges": {}}, {}, "At least one hyperparameter must have a range."),
        ({"Strategy": "Grid"}, {}, "The strategy Grid is for categorical ranges alone, and 'x' has another one."),
        ({"Strategy": "Grid", "ParameterRanges": CATEGORIES}, {}, "MaxNumberOfTrainingJobs is 3, and the grid has 2"),
        ({"Strategy": "Hyperband", "TrainingJobEarlyStoppingType": "Auto"}, {},
         "must be Off with the strategy Hyperband"),
        ({"StrategyConfig": {"HyperbandStrategyConfig": {}}}, {}, "is for the strategy Hyperband alone"),
        ({"ResourceLimits": {"MaxParallelTrainingJobs": 1}}, {}, "ResourceLimits needs MaxNumberOfTrainingJobs"),
        ({"ResourceLimits": {"MaxNumberOfTrainingJobs": 751, "MaxParallelTrainingJobs": 1}}, {}, "may be 750 at most"),
        ({"ParameterRanges": {"ContinuousParameterRanges": [continuous("x", 2, 1)]}}, {}, "is above MaxValue 1"),
        ({"Strategy": "Guess"}, {}, "Member must satisfy enum value set: [Bayesian, Random, Hyperband, Grid]"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_become_a_tuning_job(
    service: LocalService, config: dict[str, Any], members: dict[str, Any], text: str
) -> None:
    request = tuning_request("refused", **config)
    request["TrainingJobDefinition"] |= members
    code, message = service.error(CREATE, **request)
    assert code == ("ResourceLimitExceeded" if "750" in text else "ValidationException")
    assert text in message
    assert service.error(DESCRIBE, **named("refused")) == NO_JOB


def test_one_definition_or_several(service: LocalService) -> None:
    request = tuning_request("refused")
    text = "A tuning job needs either TrainingJobDefinition or TrainingJobDefinitions."
    assert service.error(CREATE, **request, TrainingJobDefinitions=[definition()])[1] == text
    del request["TrainingJobDefinition"]
    assert service.error(CREATE, **request)[1] == text


def test_a_tuning_job_outlives_its_service_and_waits_for_others(tmp_path: Path) -> None:
    with local_service(tmp_path, max_jobs=1) as first:
        first.create_job("before", **job_request("before", HyperParameters={"script": "wait"}))
        first.call(CREATE, **tuning_request("hpo", jobs=3))
        until(first, "hpo", InProgress=2)
    with local_service(tmp_path, max_jobs=2) as second:
        found = ended_tuning_job(second, "hpo")
        assert found["TrainingJobStatusCounters"]["Completed"] == 3
        second.call("StopTrainingJob", TrainingJobName="before")
        second.ended_job("before")
