"""Experiments, trials and components: what is stored comes back, and what does not fit is refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.sagemaker.local_service import LocalService, job_request, local_service
from tests.sagemaker.processing.conftest import processing_request
from tests.sagemaker.transform.test_job import transform_request

RAW = "/opt/ml/processing/input/raw"


@pytest.fixture(scope="module")
def experiment(service: LocalService) -> str:
    """An experiment with one trial and one component in it."""
    tags = [{"Key": "team", "Value": "vision"}]
    service.call("CreateExperiment", ExperimentName="dogs", Description="breeds", Tags=tags)
    service.call("CreateTrial", TrialName="dogs-first", ExperimentName="dogs")
    service.call(
        "CreateTrialComponent",
        TrialComponentName="dogs-run",
        DisplayName="Run",
        Parameters={"lr": {"NumberValue": 0.1}, "model": {"StringValue": "resnet18"}},
        StartTime="2026-11-30T12:00:00Z",
    )
    service.call("AssociateTrialComponent", TrialComponentName="dogs-run", TrialName="dogs-first")
    return "dogs"


def put_metrics(service: LocalService, *values: dict[str, Any], component: str = "dogs-run") -> Any:
    body = {"TrialComponentName": component, "MetricData": [*values]}
    return service.client.put("/BatchPutMetrics", json=body).json()


def test_what_was_created_is_described(service: LocalService, experiment: str) -> None:
    found = service.call("DescribeExperiment", ExperimentName=experiment)
    assert (found["DisplayName"], found["Description"]) == ("dogs", "breeds")
    assert found["ExperimentArn"].endswith(":experiment/dogs")
    assert service.call("ListTags", ResourceArn=found["ExperimentArn"])["Tags"] == [{"Key": "team", "Value": "vision"}]
    assert service.call("DescribeTrial", TrialName="dogs-first")["ExperimentName"] == "dogs"
    component = service.call("DescribeTrialComponent", TrialComponentName="dogs-run")
    assert component["Parameters"] == {"lr": {"NumberValue": 0.1}, "model": {"StringValue": "resnet18"}}
    assert component["StartTime"] == 1796040000
    assert service.call("DescribeTrialComponent", TrialComponentName=component["TrialComponentArn"]) == component


def test_lists_by_what_they_belong_to(service: LocalService, experiment: str) -> None:
    def names(result: dict[str, Any], member: str, name: str) -> list[str]:
        return [entry[name] for entry in result[member]]

    assert names(service.call("ListExperiments", SortBy="Name"), "ExperimentSummaries", "ExperimentName") == ["dogs"]
    for filters in ({"ExperimentName": "dogs"}, {"TrialComponentName": "dogs-run"}):
        assert names(service.call("ListTrials", **filters), "TrialSummaries", "TrialName") == ["dogs-first"]
    for filters in ({"ExperimentName": "dogs"}, {"TrialName": "dogs-first"}):
        found = service.call("ListTrialComponents", **filters)
        assert names(found, "TrialComponentSummaries", "TrialComponentName") == ["dogs-run"]
    assert service.call("ListTrialComponents", SourceArn="arn:other")["TrialComponentSummaries"] == []


def test_an_update_adds_replaces_and_removes(service: LocalService, experiment: str) -> None:
    service.call(
        "UpdateTrialComponent",
        TrialComponentName="dogs-run",
        Status={"PrimaryStatus": "Completed"},
        Parameters={"lr": {"NumberValue": 0.2}, "epochs": {"NumberValue": 3}},
        ParametersToRemove=["model"],
        OutputArtifacts={"plot": {"Value": "s3://dogs/plot.png", "MediaType": "image/png"}},
    )
    found = service.call("DescribeTrialComponent", TrialComponentName="dogs-run")
    assert found["Parameters"] == {"lr": {"NumberValue": 0.2}, "epochs": {"NumberValue": 3}}
    assert found["OutputArtifacts"]["plot"]["Value"] == "s3://dogs/plot.png"
    assert found["Status"] == {"PrimaryStatus": "Completed"}
    assert found["StartTime"] == 1796040000
    service.call("UpdateExperiment", ExperimentName="dogs", DisplayName="Dogs")
    service.call("UpdateTrial", TrialName="dogs-first", DisplayName="First")
    assert service.call("DescribeExperiment", ExperimentName="dogs")["DisplayName"] == "Dogs"
    assert service.call("DescribeTrial", TrialName="dogs-first")["DisplayName"] == "First"


def test_metrics_have_statistics(service: LocalService, experiment: str) -> None:
    now = int(time.time())
    points = [{"MetricName": "loss", "Value": 1 / n, "Step": n, "Timestamp": now + n} for n in (1, 2, 4)]
    assert put_metrics(service, *points) == {}
    old = {"MetricName": "loss", "Value": 1.0, "Timestamp": now - 30 * 86_400}
    assert put_metrics(service, old) == {"Errors": [{"Code": "VALIDATION_ERROR", "MetricIndex": 0}]}
    [summary] = service.call("DescribeTrialComponent", TrialComponentName="dogs-run")["Metrics"]
    assert {name: summary[name] for name in ("MetricName", "Min", "Max", "Last", "Count")} == {
        "MetricName": "loss", "Min": 0.25, "Max": 1.0, "Last": 0.25, "Count": 3
    }  # fmt: skip
    assert summary["Avg"] == pytest.approx(1.75 / 3)
    arn = service.call("DescribeTrialComponent", TrialComponentName="dogs-run")["TrialComponentArn"]
    query = {"MetricName": "loss", "ResourceArn": arn, "MetricStat": "Last", "Period": "IterationNumber"}
    other = {**query, "XAxisType": "Timestamp"}
    response = service.client.post(
        "/BatchGetMetrics", json={"MetricQueries": [{**query, "XAxisType": "IterationNumber"}, other]}
    )
    by_step, wrong = response.json()["MetricQueryResults"]
    assert by_step == {"Status": "Complete", "XAxisValues": [1, 2, 4], "MetricValues": [1.0, 0.5, 0.25]}
    assert wrong["Status"] == "ValidationError"
    assert put_metrics(service, points[0], component="nothing")["__type"] == "ValidationException"


@pytest.mark.parametrize(
    ("operation", "members", "code", "text"),
    [
        ("CreateExperiment", {"ExperimentName": "dogs"}, "ValidationException", "with name (dogs) already exists."),
        ("CreateTrial", {"TrialName": "t", "ExperimentName": "x"}, "ResourceNotFound", "Experiment 'x' does not"),
        ("DescribeTrial", {"TrialName": "t"}, "ResourceNotFound", "Trial 't' does not exist."),
        ("UpdateTrialComponent", {"TrialComponentName": "x"}, "ResourceNotFound", "Trial component 'x' does not"),
        ("DeleteExperiment", {"ExperimentName": "dogs"}, "ValidationException", "has trials (dogs-first)"),
        ("DeleteTrial", {"TrialName": "dogs-first"}, "ValidationException", "has trial components (dogs-run)"),
        ("DeleteTrialComponent", {"TrialComponentName": "dogs-run"}, "ValidationException", "is associated with"),
        ("CreateTrainingJob", job_request("j", ExperimentConfig={"ExperimentName": "x"}), "ResourceNotFound", "'x'"),
    ],
)
def test_what_does_not_fit_is_refused(
    service: LocalService, experiment: str, operation: str, members: dict[str, Any], code: str, text: str
) -> None:
    found = service.error(operation, **members)
    assert found[0] == code
    assert text in found[1]


def test_a_job_has_a_component_in_its_trial(service: LocalService, experiment: str) -> None:
    config = {"ExperimentName": "dogs", "TrialName": "dogs-first", "TrialComponentDisplayName": "Training"}
    channel = {"S3DataType": "S3Prefix", "S3Uri": "s3://dogs/train"}
    service.create_job(
        "tracked",
        HyperParameters={"lr": "0.5", "script": "complete"},
        ExperimentConfig=config,
        InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": channel}}],
    )
    service.ended_job("tracked")
    found = service.call("DescribeTrialComponent", TrialComponentName="tracked-aws-training-job")
    assert (found["DisplayName"], found["Status"]) == ("Training", {"PrimaryStatus": "Completed"})
    assert found["Source"]["SourceType"] == "SageMakerTrainingJob"
    assert found["Parameters"]["lr"] == {"NumberValue": 0.5}
    assert found["Parameters"]["SageMaker.InstanceType"] == {"StringValue": "ml.g4dn.xlarge"}
    assert found["InputArtifacts"]["train"] == {"Value": "s3://dogs/train"}
    assert found["OutputArtifacts"]["SageMaker.ModelArtifact"]["Value"].endswith("tracked/output/model.tar.gz")
    assert found["Metrics"][0]["Count"] == 3
    arn = found["Source"]["SourceArn"]
    [summary] = service.call("ListTrialComponents", SourceArn=arn)["TrialComponentSummaries"]
    assert summary["TrialComponentName"] == "tracked-aws-training-job"
    service.call("DeleteTrainingJob", TrainingJobName="tracked")
    later = service.call("DescribeTrialComponent", TrialComponentName="tracked-aws-training-job")
    assert later | {"LastModifiedTime": 0} == found | {"LastModifiedTime": 0}
    service.create_job("tracked", HyperParameters={"lr": "0.25"})
    again = service.call("DescribeTrialComponent", TrialComponentName="tracked-aws-training-job")
    assert again["Parameters"]["lr"] == {"NumberValue": 0.25}


def test_a_trial_is_made_where_a_job_names_its_experiment_alone(service: LocalService, experiment: str) -> None:
    service.create_job("alone", ExperimentConfig={"ExperimentName": "dogs"})
    assert service.call("DescribeTrial", TrialName="alone-aws-trial")["ExperimentName"] == "dogs"
    [summary] = service.call("ListTrialComponents", TrialName="alone-aws-trial")["TrialComponentSummaries"]
    assert summary["TrialComponentName"] == "alone-aws-training-job"


def test_processing_and_transform_jobs_have_components_too(service: LocalService, experiment: str) -> None:
    config = {"ExperimentName": "dogs", "TrialName": "dogs-first"}
    inputs = [{"InputName": "raw", "S3Input": {"S3Uri": "s3://dogs/raw", "S3DataType": "S3Prefix", "LocalPath": RAW}}]
    request = processing_request("clean", ExperimentConfig=config, ProcessingInputs=inputs)
    request["AppSpecification"]["ContainerEntrypoint"] = ["true"]
    service.call("CreateProcessingJob", **request)
    found = service.call("DescribeTrialComponent", TrialComponentName="clean-aws-processing-job")
    assert found["Source"]["SourceType"] == "SageMakerProcessingJob"
    assert found["InputArtifacts"]["raw"] == {"Value": "s3://dogs/raw"}
    container = {"Image": "1/pytorch-inference:1.9-cpu-py38", "ModelDataUrl": service.put("s3://dogs/model.tar.gz")}
    role = "arn:aws:iam::111122223333:role/Transformer"
    service.call("CreateModel", ModelName="size", PrimaryContainer=container, ExecutionRoleArn=role)
    service.call("CreateTransformJob", **transform_request("sizes", ExperimentConfig=config))
    found = service.call("DescribeTrialComponent", TrialComponentName="sizes-aws-transform-job")
    assert found["OutputArtifacts"]["SageMaker.TransformOutput"]["Value"].endswith("/out")
    missing = processing_request("lost", ExperimentConfig={"TrialName": "nothing"})
    missing["AppSpecification"]["ContainerEntrypoint"] = ["true"]
    assert service.error("CreateProcessingJob", **missing)[0] == "ResourceNotFound"


def test_artifacts_and_associations(service: LocalService, experiment: str) -> None:
    source = {"SourceUri": "s3://dogs/matrix.json", "SourceTypes": [{"SourceIdType": "S3ETag", "Value": "1"}]}
    arguments = {"ArtifactName": "matrix", "ArtifactType": "ConfusionMatrix", "Source": source}
    arn = service.call("CreateArtifact", **arguments)["ArtifactArn"]
    assert service.call("CreateArtifact", **arguments)["ArtifactArn"] == arn
    component = service.call("DescribeTrialComponent", TrialComponentName="dogs-run")["TrialComponentArn"]
    ends = {"SourceArn": component, "DestinationArn": arn}
    service.call("AddAssociation", **ends, AssociationType="Produced")
    assert "already exists" in service.error("AddAssociation", **ends)[1]
    [found] = service.call("ListAssociations", SourceArn=component)["AssociationSummaries"]
    assert (found["DestinationType"], found["DestinationName"]) == ("ConfusionMatrix", "matrix")
    assert service.call("DescribeArtifact", ArtifactArn=arn)["Source"] == source
    assert len(service.call("ListArtifacts", SourceUri="s3://dogs/matrix.json")["ArtifactSummaries"]) == 1
    service.call("DeleteAssociation", **ends)
    service.call("DeleteArtifact", Source=source)
    assert service.error("DescribeArtifact", ArtifactArn=arn)[0] == "ResourceNotFound"


def test_parts_are_deleted_from_the_inside_out(tmp_path: Path) -> None:
    with local_service(tmp_path) as service:
        service.call("CreateExperiment", ExperimentName="e")
        service.call("CreateTrial", TrialName="t", ExperimentName="e")
        service.call("CreateTrialComponent", TrialComponentName="c")
        service.call("AssociateTrialComponent", TrialComponentName="c", TrialName="t")
        service.call("DisassociateTrialComponent", TrialComponentName="c", TrialName="t")
        service.call("DeleteTrialComponent", TrialComponentName="c")
        service.call("DeleteTrial", TrialName="t")
        service.call("DeleteExperiment", ExperimentName="e")
        assert service.call("ListExperiments")["ExperimentSummaries"] == []
