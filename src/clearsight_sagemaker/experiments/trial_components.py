"""Operations on trial components, and their association with trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clearsight_sagemaker.experiments.component_metrics import metric_summaries
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
from clearsight_sagemaker.experiments.job_components import job_members
from clearsight_sagemaker.protocols.errors import validation_error
from clearsight_sagemaker.protocols.json_protocol import seconds_of
from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.state.service_state import Operation, ServiceState

_MAPS = ("Parameters", "InputArtifacts", "OutputArtifacts")
_REPEATED = ("Status", "StartTime", "EndTime", *_MAPS, "MetadataProperties")


def create_trial_component(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Store a trial component."""
    return {"TrialComponentArn": add_entity(state, TRIAL_COMPONENT, request["TrialComponentName"], _plain(request))}


def component_members(state: ServiceState, row: Resource) -> dict[str, Any]:
    """Return the description of a component; that of a job has the facts of the job, under what clients have set."""
    request, facts = row.document["request"], job_members(state, row)
    members = {name: request.get(name, facts.get(name)) for name in _REPEATED}
    # Empty ones too: the SDK reads them without asking whether they are there.
    members |= {name: {**facts.get(name, {}), **request.get(name, {})} for name in _MAPS}
    return {
        "TrialComponentName": row.name,
        "TrialComponentArn": row.document["arn"],
        "Source": row.document.get("source"),
        **common_members(row),
        **members,
        "Metrics": metric_summaries(state, row) or None,
    }


def describe_trial_component(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything about a component, which is named or given by its ARN."""
    name = request["TrialComponentName"].rpartition("/")[2]
    return component_members(state, stored_entity(state, TRIAL_COMPONENT, name))


def update_trial_component(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change members of a component: parameters and artifacts are added to those that are there."""
    changes = {key: value for key, value in _plain(request).items() if not key.endswith("ToRemove")}

    def change(before: dict[str, Any]) -> dict[str, Any]:
        after = {**before, **changes}
        for name in _MAPS:
            removed = request.get(f"{name}ToRemove", ())
            merged = {**before.get(name, {}), **changes.get(name, {})}
            after[name] = {key: value for key, value in merged.items() if key not in removed}
        return after

    return {"TrialComponentArn": change_entity(state, TRIAL_COMPONENT, request["TrialComponentName"], change)}


def delete_trial_component(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a component that is in no trial, with its metrics."""
    row = stored_entity(state, TRIAL_COMPONENT, request["TrialComponentName"])
    if trials := row.document.get("trials"):
        names = ", ".join(trials[:3])
        raise validation_error(f"Trial component '{row.name}' is associated with trials ({names}). Disassociate it.")
    state.table.remove(TRIAL_COMPONENT, row.name)
    (state.home.component_metrics / f"{row.name}.jsonl").unlink(missing_ok=True)
    return {"TrialComponentArn": row.document["arn"]}


def list_trial_components(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of components, of all or of a trial, an experiment or a job."""
    experiment, trial, source = (request.get(name) for name in ("ExperimentName", "TrialName", "SourceArn"))
    if trial is not None:
        stored_entity(state, TRIAL, trial)
    if experiment is not None:
        stored_entity(state, EXPERIMENT, experiment)
        rows = state.table.every(TRIAL)
        trials = {row.name for row in rows if row.document["request"]["ExperimentName"] == experiment}

    def accepts(row: Resource) -> bool:
        names = set(row.document.get("trials", ()))
        arn = (row.document.get("source") or {}).get("SourceArn", "")
        is_in_experiment = experiment is None or bool(trials & names)
        return is_in_experiment and (trial is None or trial in names) and source in (None, arn, arn.lower())

    found, token = list_entities(state, TRIAL_COMPONENT, request, accepts)
    return {"TrialComponentSummaries": [_summary(state, row) for row in found], "NextToken": token}


def associate_trial_component(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Put a component into a trial; one that is in it already stays there."""
    trial = stored_entity(state, TRIAL, request["TrialName"])
    return _change_trials(state, request, trial, lambda trials: [*dict.fromkeys([*trials, trial.name])])


def disassociate_trial_component(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take a component out of a trial."""
    trial = stored_entity(state, TRIAL, request["TrialName"])
    return _change_trials(state, request, trial, lambda trials: [name for name in trials if name != trial.name])


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("sagemaker", "CreateTrialComponent"): create_trial_component,
    ("sagemaker", "DescribeTrialComponent"): describe_trial_component,
    ("sagemaker", "UpdateTrialComponent"): update_trial_component,
    ("sagemaker", "DeleteTrialComponent"): delete_trial_component,
    ("sagemaker", "ListTrialComponents"): list_trial_components,
    ("sagemaker", "AssociateTrialComponent"): associate_trial_component,
    ("sagemaker", "DisassociateTrialComponent"): disassociate_trial_component,
}


def _change_trials(state: ServiceState, request: Mapping[str, Any], trial: Resource, change: Any) -> dict[str, Any]:
    def changed(row: Resource) -> Resource:
        return replace(row, document={**row.document, "trials": change(row.document.get("trials", []))})

    name = request["TrialComponentName"]
    row = state.table.change(TRIAL_COMPONENT, name, changed) or stored_entity(state, TRIAL_COMPONENT, name)
    return {"TrialComponentArn": row.document["arn"], "TrialArn": trial.document["arn"]}


def _summary(state: ServiceState, row: Resource) -> dict[str, Any]:
    members = component_members(state, row)
    repeated = ("TrialComponentName", "TrialComponentArn", "DisplayName", "Status", "StartTime", "EndTime")
    times = ("CreationTime", "LastModifiedTime")
    return {name: members.get(name) for name in (*repeated, *times)} | {"TrialComponentSource": members["Source"]}


def _plain(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request whose times are numbers."""
    times = {name: seconds_of(request, name) for name in ("StartTime", "EndTime") if name in request}
    return {**request, **times}
