"""Operations on experiments and trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearsight_sagemaker.experiments.entities import (
    EXPERIMENT,
    TRIAL,
    TRIAL_COMPONENT,
    add_entity,
    change_entity,
    common_members,
    list_entities,
    stored_entity,
)
from clearsight_sagemaker.protocols.errors import validation_error
from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.state.service_state import Operation, ServiceState


def create_experiment(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Store an experiment."""
    return {"ExperimentArn": add_entity(state, EXPERIMENT, request["ExperimentName"], request)}


def experiment_members(state: ServiceState, row: Resource) -> dict[str, Any]:
    """Return the description of an experiment."""
    return {
        "ExperimentName": row.name,
        "ExperimentArn": row.document["arn"],
        "Description": row.document["request"].get("Description"),
        **common_members(row),
    }


def describe_experiment(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything about an experiment."""
    return experiment_members(state, stored_entity(state, EXPERIMENT, request["ExperimentName"]))


def update_experiment(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change the display name or the description of an experiment."""
    arn = change_entity(state, EXPERIMENT, request["ExperimentName"], lambda before: {**before, **request})
    return {"ExperimentArn": arn}


def delete_experiment(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete an experiment that has no trials."""
    row = stored_entity(state, EXPERIMENT, request["ExperimentName"])
    trials = _trials_of(state, row.name)
    if trials:
        names = ", ".join(sorted(trials)[:3])
        raise validation_error(f"Experiment '{row.name}' has trials ({names}). Delete them before the experiment.")
    state.table.remove(EXPERIMENT, row.name)
    return {"ExperimentArn": row.document["arn"]}


def list_experiments(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of experiments."""
    rows, token = list_entities(state, EXPERIMENT, request)
    summaries = [{**experiment_members(state, row), "Description": None} for row in rows]
    return {"ExperimentSummaries": summaries, "NextToken": token}


def create_trial(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Store a trial of an experiment."""
    stored_entity(state, EXPERIMENT, request["ExperimentName"])
    return {"TrialArn": add_entity(state, TRIAL, request["TrialName"], request)}


def trial_members(state: ServiceState, row: Resource) -> dict[str, Any]:
    """Return the description of a trial."""
    request = row.document["request"]
    return {
        "TrialName": row.name,
        "TrialArn": row.document["arn"],
        "ExperimentName": request["ExperimentName"],
        "MetadataProperties": request.get("MetadataProperties"),
        **common_members(row),
    }


def describe_trial(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything about a trial."""
    return trial_members(state, stored_entity(state, TRIAL, request["TrialName"]))


def update_trial(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change the display name of a trial."""
    return {"TrialArn": change_entity(state, TRIAL, request["TrialName"], lambda before: {**before, **request})}


def delete_trial(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a trial that has no components."""
    row = stored_entity(state, TRIAL, request["TrialName"])
    components = [
        part.name for part in state.table.every(TRIAL_COMPONENT) if row.name in part.document.get("trials", [])
    ]
    if components:
        names = ", ".join(components[:3])
        raise validation_error(f"Trial '{row.name}' has trial components ({names}). Disassociate them first.")
    state.table.remove(TRIAL, row.name)
    return {"TrialArn": row.document["arn"]}


def list_trials(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of trials, of all or of an experiment, or those that have a component."""
    experiment, component = request.get("ExperimentName"), request.get("TrialComponentName")
    names: list[str] | None = None
    if experiment is not None:
        stored_entity(state, EXPERIMENT, experiment)
    if component is not None:
        names = stored_entity(state, TRIAL_COMPONENT, component).document.get("trials", [])

    def accepts(row: Resource) -> bool:
        is_in_experiment = experiment in (None, row.document["request"]["ExperimentName"])
        return is_in_experiment and (names is None or row.name in names)

    rows, token = list_entities(state, TRIAL, request, accepts)
    left_out = {"ExperimentName": None, "MetadataProperties": None}
    return {"TrialSummaries": [{**trial_members(state, row), **left_out} for row in rows], "NextToken": token}


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("sagemaker", "CreateExperiment"): create_experiment,
    ("sagemaker", "DescribeExperiment"): describe_experiment,
    ("sagemaker", "UpdateExperiment"): update_experiment,
    ("sagemaker", "DeleteExperiment"): delete_experiment,
    ("sagemaker", "ListExperiments"): list_experiments,
    ("sagemaker", "CreateTrial"): create_trial,
    ("sagemaker", "DescribeTrial"): describe_trial,
    ("sagemaker", "UpdateTrial"): update_trial,
    ("sagemaker", "DeleteTrial"): delete_trial,
    ("sagemaker", "ListTrials"): list_trials,
}


def _trials_of(state: ServiceState, experiment: str) -> set[str]:
    rows = state.table.every(TRIAL)
    return {row.name for row in rows if row.document["request"]["ExperimentName"] == experiment}
