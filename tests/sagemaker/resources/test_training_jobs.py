"""Training jobs over the API: what clients read of them from creation to the end."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clearsight.jobs.store import JobStore
from clearsight_sagemaker.resources import training_jobs
from tests.sagemaker.local_service import WAIT_SECONDS, LocalService, job_request, local_service

RULES = [
    {
        "RuleConfigurationName": "LossNotDecreasing",
        "RuleEvaluatorImage": "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest",
        "RuleParameters": {"rule_to_invoke": "LossNotDecreasing"},
    }
]


@pytest.fixture(scope="module")
def finished(service: LocalService) -> dict[str, Any]:
    service.create_job(
        "finished",
        HyperParameters={"batch_size": "128", "model-type": '"resnet50"', "script": '"complete"'},
        InputDataConfig=[
            {
                "ChannelName": "train",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://dogs/train"}},
            }
        ],
        DebugHookConfig={"S3OutputPath": "s3://dogs/"},
        DebugRuleConfigurations=RULES,
        ProfilerConfig={"S3OutputPath": "s3://dogs/", "ProfilingIntervalInMilliseconds": 500},
        ProfilerRuleConfigurations=[{**RULES[0], "RuleConfigurationName": "LowGPUUtilization"}],
        Tags=[{"Key": "seed", "Value": "1"}],
    )
    return service.ended_job("finished")


def test_a_job_runs_to_its_end(finished: dict[str, Any]) -> None:
    assert finished["TrainingJobStatus"] == finished["SecondaryStatus"] == "Completed"
    transitions = finished["SecondaryStatusTransitions"]
    assert [item["Status"] for item in transitions] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert [item["StatusMessage"] for item in transitions][-1] == "Training job completed"
    assert all(first["EndTime"] == second["StartTime"] for first, second in itertools.pairwise(transitions))
    assert transitions[-1]["StartTime"] == transitions[-1]["EndTime"]
    assert finished["TrainingStartTime"] == transitions[1]["StartTime"]
    assert finished["TrainingEndTime"] == transitions[-1]["StartTime"]
    assert finished["TrainingTimeInSeconds"] == finished["BillableTimeInSeconds"] == 1
    assert finished["FinalMetricDataList"][0]["MetricName"] == "loss"
    assert finished["FinalMetricDataList"][0]["Value"] == pytest.approx(1 / 3)


def test_members_that_clients_read_are_always_there(service: LocalService, finished: dict[str, Any]) -> None:
    service.create_job("young")
    for found in (finished, service.call("DescribeTrainingJob", TrainingJobName="young")):
        model = f"s3://dogs/models/{found['TrainingJobName']}/output/model.tar.gz"
        assert found["ModelArtifacts"] == {"S3ModelArtifacts": model}
        assert found["OutputDataConfig"] == {
            "KmsKeyId": "",
            "S3OutputPath": "s3://dogs/models/",
            "CompressionType": "GZIP",
        }
        assert found["ResourceConfig"]["InstanceType"] == "ml.g4dn.xlarge"
        assert found["SecondaryStatusTransitions"][0]["Status"] == "Starting"
        assert found["EnableManagedSpotTraining"] is found["EnableNetworkIsolation"] is False
    service.ended_job("young")


def test_the_request_is_repeated_as_it_was_sent(finished: dict[str, Any]) -> None:
    assert finished["HyperParameters"]["model-type"] == '"resnet50"'
    assert finished["AlgorithmSpecification"]["EnableSageMakerMetricsTimeSeries"] is True
    assert finished["RoleArn"] == "arn:aws:iam::111122223333:role/service-role/Trainer"
    assert finished["InputDataConfig"][0]["CompressionType"] == "None"
    assert finished["ProfilingStatus"] == "Enabled"
    assert "VpcConfig" not in finished


def test_a_rule_has_a_verdict_or_says_why_not(finished: dict[str, Any]) -> None:
    [debug], [profiler] = finished["DebugRuleEvaluationStatuses"], finished["ProfilerRuleEvaluationStatuses"]
    assert (debug["RuleEvaluationStatus"], debug.get("StatusDetails")) == ("NoIssuesFound", None)
    assert ":processing-job/finished-lossnotdecreasing-" in debug["RuleEvaluationJobArn"]
    assert profiler["RuleEvaluationStatus"] == "Error"
    assert profiler["StatusDetails"] == "InternalServerError: the job ended before the rule was evaluated."
    assert finished["DebugRuleConfigurations"][0]["VolumeSizeInGB"] == 0


def test_the_process_gets_the_request_and_the_address(service: LocalService, finished: dict[str, Any]) -> None:
    folder = service.state.training_jobs.folder("finished")
    assert json.loads((folder.path / "request.json").read_text())["HyperParameters"] == finished["HyperParameters"]
    facts = json.loads((folder.path / "service.json").read_text())
    assert facts["bucket"] == "sagemaker-us-east-1-000000000000"
    assert facts["endpoint_url"] == "http://127.0.0.1:1"
    assert facts["job_environment"] == {"PIP_NO_INDEX": "1", "WANDB_MODE": "offline"}
    assert (folder.path / "service.json").stat().st_mode & 0o077 == 0


def test_a_failed_job_says_why(service: LocalService) -> None:
    service.create_job("failing", HyperParameters={"script": "fail"})
    found = service.ended_job("failing")
    assert found["TrainingJobStatus"] == "Failed"
    assert found["FailureReason"] == "AlgorithmError: ExecuteUserScriptError:\nExitCode 1"
    assert found["SecondaryStatusTransitions"][-1]["StatusMessage"] == found["FailureReason"]


def test_a_process_that_is_killed_makes_the_job_fail(service: LocalService) -> None:
    service.create_job("dying", HyperParameters={"script": "die"})
    found = service.ended_job("dying")
    assert found["TrainingJobStatus"] == "Failed"
    assert found["FailureReason"].startswith("InternalServerError: the process of the job ended without a result")
    assert "SIGKILL" in found["FailureReason"]


def test_a_running_job_is_stopped(service: LocalService) -> None:
    rules = [{"RuleConfigurationName": "Overfit", "RuleEvaluatorImage": "x"}]
    service.create_job("endless", HyperParameters={"script": "wait"}, ProfilerRuleConfigurations=rules)
    service.call("StopTrainingJob", TrainingJobName="endless")
    assert service.call("DescribeTrainingJob", TrainingJobName="endless")["TrainingJobStatus"] in (
        "Stopping",
        "Stopped",
    )
    found = service.ended_job("endless")
    assert found["SecondaryStatusTransitions"][-1]["StatusMessage"] == "Training job stopped"
    assert found["ProfilerRuleEvaluationStatuses"][0]["RuleEvaluationStatus"] == "Stopped"
    code, message = service.error("StopTrainingJob", TrainingJobName="endless")
    assert code == "ValidationException"
    assert message == "The request was rejected because the training job is in status Stopped."


def test_jobs_beyond_the_limit_wait_for_their_turn(service: LocalService) -> None:
    for name in ("first", "second", "third"):  # two run at the same time
        service.create_job(name, HyperParameters={"script": "wait"})
    waiting = service.call("DescribeTrainingJob", TrainingJobName="third")
    assert (waiting["TrainingJobStatus"], waiting["SecondaryStatus"]) == ("InProgress", "Starting")
    service.call("StopTrainingJob", TrainingJobName="third")
    assert service.call("DescribeTrainingJob", TrainingJobName="third")["TrainingJobStatus"] == "Stopped"
    assert not service.state.training_jobs.folder("third").log.exists(), "it was never started"
    for name in ("first", "second"):
        service.call("StopTrainingJob", TrainingJobName=name)
        assert service.ended_job(name)["TrainingJobStatus"] == "Stopped"


def test_the_number_of_waiting_jobs_has_a_limit(service: LocalService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_jobs, "_MOST_ACTIVE", 0)
    code, message = service.error("CreateTrainingJob", **job_request("many"))
    assert (code, "the limit is 0" in message) == ("ResourceLimitExceeded", True)


def test_a_name_is_used_once(service: LocalService, finished: dict[str, Any]) -> None:
    code, message = service.error("CreateTrainingJob", **job_request("finished"))
    assert code == "ResourceInUse"
    assert message.startswith("Training job names must be unique within an AWS account and region")


def test_a_job_that_is_not_there(service: LocalService) -> None:
    expected = ("ValidationException", "Requested resource not found.")
    assert service.error("DescribeTrainingJob", TrainingJobName="nothing") == expected
    assert service.error("StopTrainingJob", TrainingJobName="nothing") == expected


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"AlgorithmSpecification": {"TrainingImage": "x/tensorflow-training:2.3", "TrainingInputMode": "File"}},
         "tensorflow-training is neither"),
        ({"AlgorithmSpecification": {"TrainingImage": "8/image-classification:1", "TrainingInputMode": "File",
                                     "MetricDefinitions": [{"Name": "train:loss", "Regex": "loss=(.*)"}]}},
         "You can't override the metric definitions for Amazon SageMaker algorithms."),
        ({"AlgorithmSpecification": {"TrainingInputMode": "File"}}, "names no TrainingImage"),
        ({"EnableManagedSpotTraining": True}, "Invalid MaxWaitTimeInSeconds None"),
        ({"ResourceConfig": {"VolumeSizeInGB": 1}}, "must have InstanceType and InstanceCount"),
        ({"ResourceConfig": {"InstanceType": "local", "InstanceCount": 1, "VolumeSizeInGB": 1}},
         "Value 'local' at 'resourceConfig.instanceType' failed to satisfy constraint: Member must satisfy enum value"),
        ({"HyperParameters": {"a": "x" * 2501}}, "at 'hyperParameters' failed to satisfy constraint: Map value must"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_become_a_job(service: LocalService, members: dict[str, Any], text: str) -> None:
    code, message = service.error("CreateTrainingJob", **job_request("refused", **members))
    assert code == "ValidationException"
    assert text in message
    assert service.error("DescribeTrainingJob", TrainingJobName="refused")[1] == "Requested resource not found."


def test_a_regex_that_python_cannot_compile(service: LocalService) -> None:
    algorithm = {**job_request("x")["AlgorithmSpecification"], "MetricDefinitions": [{"Name": "loss", "Regex": "(("}]}
    _, message = service.error("CreateTrainingJob", **job_request("refused", AlgorithmSpecification=algorithm))
    assert "The Regex '((' of the metric 'loss' is not valid" in message


def test_the_profiler_of_a_running_job_is_updated(service: LocalService) -> None:
    service.create_job("updated", HyperParameters={"script": "wait"}, ProfilerConfig={"S3OutputPath": "s3://dogs/"})
    service.call("UpdateTrainingJob", TrainingJobName="updated", ProfilerConfig={"DisableProfiler": True})
    for name in ("ProfilerReport", "BatchSize"):
        rule = {"RuleConfigurationName": name, "RuleEvaluatorImage": "x"}
        service.call("UpdateTrainingJob", TrainingJobName="updated", ProfilerRuleConfigurations=[rule])
    found = service.call("DescribeTrainingJob", TrainingJobName="updated")
    assert found["ProfilerConfig"] == {"S3OutputPath": "s3://dogs/", "DisableProfiler": True}
    assert found["ProfilingStatus"] == "Disabled"
    request = json.loads((service.state.training_jobs.folder("updated").path / "request.json").read_text())
    assert request["ProfilerConfig"]["DisableProfiler"] is True
    assert [rule["RuleConfigurationName"] for rule in found["ProfilerRuleConfigurations"]] == [
        "ProfilerReport", "BatchSize"
    ]  # fmt: skip
    service.call("StopTrainingJob", TrainingJobName="updated")
    service.ended_job("updated")


def test_tags(service: LocalService, finished: dict[str, Any]) -> None:
    arn = finished["TrainingJobArn"]
    assert service.call("ListTags", ResourceArn=arn) == {"Tags": [{"Key": "seed", "Value": "1"}]}
    service.call("AddTags", ResourceArn=arn, Tags=[{"Key": "seed", "Value": "2"}, {"Key": "a", "Value": ""}])
    service.call("DeleteTags", ResourceArn=arn, TagKeys=["a", "never"])
    assert service.call("ListTags", ResourceArn=arn) == {"Tags": [{"Key": "seed", "Value": "2"}]}
    code, message = service.error("AddTags", ResourceArn=arn, Tags=[{"Key": "aws:x", "Value": ""}])
    assert (code, "reserved" in message) == ("ValidationException", True)
    assert "Could not find resource" in service.error("ListTags", ResourceArn=arn + "x")[1]


def test_a_job_that_has_ended_is_deleted(service: LocalService) -> None:
    service.create_job("brief", HyperParameters={"script": "wait"})
    assert "is in status InProgress" in service.error("DeleteTrainingJob", TrainingJobName="brief")[1]
    service.call("StopTrainingJob", TrainingJobName="brief")
    service.ended_job("brief")
    service.call("DeleteTrainingJob", TrainingJobName="brief")
    assert service.error("DescribeTrainingJob", TrainingJobName="brief")[1] == "Requested resource not found."
    assert not service.state.training_jobs.folder("brief").path.exists()


def test_jobs_outlive_their_service(tmp_path: Path) -> None:
    with local_service(tmp_path) as first:
        first.create_job("running", HyperParameters={"script": "wait"})
        # As a service leaves it that was killed within CreateTrainingJob:
        row = first.state.table.get("training-job", "running")
        assert row is not None
        cut = replace(row, name="cut", status="Creating", number=0, document={"request": job_request("cut"), "arn": ""})
        first.state.table.add(replace(cut, document={**cut.document, "state": {"secondary": "Starting"}}))
        until_training(first, "running")
    with local_service(tmp_path) as second:
        assert second.call("DescribeTrainingJob", TrainingJobName="running")["SecondaryStatus"] == "Training"
        second.call("StopTrainingJob", TrainingJobName="running")
        assert second.ended_job("running")["TrainingJobStatus"] == "Stopped"
        assert second.ended_job("cut")["TrainingJobStatus"] == "Completed"


def test_jobs_outlive_the_supervisor_of_their_processes(tmp_path: Path) -> None:
    with local_service(tmp_path) as service:
        service.create_job("running", HyperParameters={"script": "wait"})
        until_training(service, "running")
        store = JobStore(service.state.home.processes)
        os.kill(store.supervisor["pid"], signal.SIGKILL)
        store.close()
        service.create_job("next")
        assert service.ended_job("next")["TrainingJobStatus"] == "Completed"
        service.call("StopTrainingJob", TrainingJobName="running")
        assert service.ended_job("running")["TrainingJobStatus"] == "Stopped"


def until_training(service: LocalService, name: str) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while service.call("DescribeTrainingJob", TrainingJobName=name)["SecondaryStatus"] != "Training":
        assert time.monotonic() < end
