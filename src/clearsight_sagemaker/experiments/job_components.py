"""Trial components of jobs: each job has one, which shows what the job's request, events and results say."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from clearsight_sagemaker.experiments.component_metrics import keep_job_metrics
from clearsight_sagemaker.experiments.entities import EXPERIMENT, TRIAL, TRIAL_COMPONENT, stored_entity
from clearsight_sagemaker.protocols.errors import validation_error
from clearsight_sagemaker.state.resource_table import Resource, ResourceExists
from clearsight_sagemaker.state.service_state import PROCESSING_JOB, TRAINING_JOB, TRANSFORM_JOB, ServiceState

_SOURCES = {
    TRAINING_JOB: "SageMakerTrainingJob",
    PROCESSING_JOB: "SageMakerProcessingJob",
    TRANSFORM_JOB: "SageMakerTransformJob",
}
_MOST_NAME = 120  # characters of a component's name


def check_experiment_config(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Raise ServiceError for an ExperimentConfig of a job whose experiment or trial is not there, or do not fit."""
    config = request.get("ExperimentConfig") or {}
    experiment, trial = config.get("ExperimentName"), config.get("TrialName")
    if experiment is not None:
        stored_entity(state, EXPERIMENT, experiment)
    if trial is not None:
        found = stored_entity(state, TRIAL, trial).document["request"]["ExperimentName"]
        if experiment not in (None, found):
            raise validation_error(f"Trial '{trial}' belongs to the experiment '{found}', not to '{experiment}'.")


def add_job_component(state: ServiceState, kind: str, job: str, request: Mapping[str, Any]) -> None:
    """Store the component of a job, unless it is there. request: of the job, whose ExperimentConfig names its trial.

    kind: "training-job". Without a TrialName, an experiment gets a trial for the job.
    """
    config = request.get("ExperimentConfig") or {}
    trial = config.get("TrialName")
    if trial is None and config.get("ExperimentName"):
        trial = _name(job, "trial")
        _add(state, TRIAL, trial, {"request": {"TrialName": trial, "ExperimentName": config["ExperimentName"]}})
    name = _name(job, kind)
    document = {
        "request": {"DisplayName": config.get("TrialComponentDisplayName", name)},
        "source": {"SourceArn": state.account.arn(kind, job), "SourceType": _SOURCES[kind]},
        "job": {"kind": kind, "name": job},
        "trials": [trial] if trial else [],
        "arn": state.account.arn(TRIAL_COMPONENT, name),
    }
    _add(state, TRIAL_COMPONENT, name, document)
    stored = state.table.get(TRIAL_COMPONENT, name)
    if stored is not None and stored.document.get("job", {}) is None:  # of a job of this name that was deleted
        (state.home.component_metrics / f"{name}.jsonl").unlink(missing_ok=True)
        state.table.change(TRIAL_COMPONENT, name, lambda row: replace(row, document=document))


def keep_job_facts(state: ServiceState, kind: str, job: str) -> None:
    """Write the facts of a job into its component, before the job is deleted."""

    component = state.table.get(TRIAL_COMPONENT, _name(job, kind))
    if component is None:
        return
    facts = job_members(state, component)
    keep_job_metrics(state, component)

    def changed(row: Resource) -> Resource:
        return replace(row, document={**row.document, "request": {**facts, **row.document["request"]}, "job": None})

    state.table.change(TRIAL_COMPONENT, component.name, changed)


def job_members(state: ServiceState, row: Resource) -> dict[str, Any]:
    """Return the members of a component that follow from its job; {} for one without a job. row: of the component."""
    job = row.document.get("job")
    resource = state.table.get(job["kind"], job["name"]) if job else None
    if resource is None or resource.kind not in state.queues:
        return {}
    progress = state.queues[resource.kind].progress(resource.name)
    members: dict[str, Any] = {
        "Status": {"PrimaryStatus": progress.status, "Message": progress.reason or None},
        "StartTime": progress.started,
        "EndTime": progress.finished,
    }
    describe = _DESCRIBED.get(resource.kind)
    return members | (describe(resource.document["request"], progress.model) if describe else {})


def _training_members(request: Mapping[str, Any], model: str) -> dict[str, Any]:
    resources, image = request.get("ResourceConfig", {}), request["AlgorithmSpecification"].get("TrainingImage")
    facts = {
        "SageMaker.InstanceType": resources.get("InstanceType"),
        "SageMaker.InstanceCount": resources.get("InstanceCount"),
        "SageMaker.VolumeSizeInGB": resources.get("VolumeSizeInGB"),
    }
    parameters = {**request.get("HyperParameters", {}), **facts}
    inputs = {
        channel["ChannelName"]: {"MediaType": channel.get("ContentType"), "Value": source["S3Uri"]}
        for channel in request.get("InputDataConfig", [])
        if (source := channel["DataSource"].get("S3DataSource"))
    }
    return {
        "Parameters": {name: _parameter(value) for name, value in parameters.items() if value is not None},
        "InputArtifacts": {**inputs, **({"SageMaker.ImageUri": {"Value": image}} if image else {})},
        "OutputArtifacts": {"SageMaker.ModelArtifact": {"Value": model}} if model else {},
    }


def _processing_members(request: Mapping[str, Any], _: str) -> dict[str, Any]:
    cluster = request.get("ProcessingResources", {}).get("ClusterConfig", {})
    names = ("InstanceType", "InstanceCount", "VolumeSizeInGB")
    parameters = {f"SageMaker.{name}": _parameter(cluster[name]) for name in names if name in cluster}
    parameters |= {name: _parameter(value) for name, value in request.get("Environment", {}).items()}
    inputs = {
        entry["InputName"]: {"Value": entry["S3Input"]["S3Uri"]}
        for entry in request.get("ProcessingInputs", [])
        if "S3Input" in entry
    }
    outputs = {
        entry["OutputName"]: {"Value": entry["S3Output"]["S3Uri"]}
        for entry in request.get("ProcessingOutputConfig", {}).get("Outputs", [])
        if "S3Output" in entry
    }
    image = {"SageMaker.ImageUri": {"Value": request["AppSpecification"]["ImageUri"]}}
    return {"Parameters": parameters, "InputArtifacts": {**inputs, **image}, "OutputArtifacts": outputs}


def _transform_members(request: Mapping[str, Any], _: str) -> dict[str, Any]:
    resources = request["TransformResources"]
    names = ("InstanceType", "InstanceCount")
    source = request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    return {
        "Parameters": {f"SageMaker.{name}": _parameter(resources[name]) for name in names if name in resources},
        "InputArtifacts": {
            "SageMaker.TransformInput": {"Value": source},
            "SageMaker.ModelName": {"Value": request["ModelName"]},
        },
        "OutputArtifacts": {"SageMaker.TransformOutput": {"Value": request["TransformOutput"]["S3OutputPath"]}},
    }


_DESCRIBED: dict[str, Callable[[Mapping[str, Any], str], dict[str, Any]]] = {
    TRAINING_JOB: _training_members,
    PROCESSING_JOB: _processing_members,
    TRANSFORM_JOB: _transform_members,
}


def _parameter(value: Any) -> dict[str, Any]:
    try:
        return {"NumberValue": float(str(value))}
    except ValueError:
        return {"StringValue": str(value)}


def _name(job: str, kind: str) -> str:
    suffix = f"-aws-{kind}"
    return job[: _MOST_NAME - len(suffix)] + suffix


def _add(state: ServiceState, kind: str, name: str, document: dict[str, Any]) -> None:
    document = {"arn": state.account.arn(kind, name), **document}
    with contextlib.suppress(ResourceExists):  # a service that was killed has stored it
        state.table.add(Resource(kind=kind, name=name, status="Created", document=document))
