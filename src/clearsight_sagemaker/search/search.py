"""Search and GetSearchSuggestions over the kinds of resources that the service has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clearsight_sagemaker.endpoints.controller import ENDPOINT
from clearsight_sagemaker.experiments.entities import EXPERIMENT, TRIAL, TRIAL_COMPONENT
from clearsight_sagemaker.experiments.experiments import experiment_members, trial_members
from clearsight_sagemaker.experiments.trial_components import component_members
from clearsight_sagemaker.protocols.errors import validation_error
from clearsight_sagemaker.protocols.service_models import service_model
from clearsight_sagemaker.protocols.validation import known_members
from clearsight_sagemaker.resources.endpoints import describe_endpoint
from clearsight_sagemaker.resources.models import MODEL, describe_model
from clearsight_sagemaker.resources.tags import tag_list
from clearsight_sagemaker.resources.training_job_description import describe
from clearsight_sagemaker.resources.tuning_jobs import describe_tuning_job
from clearsight_sagemaker.search.expression import check_expression, fits, property_values, searchable
from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.state.service_state import TRAINING_JOB, TUNING_JOB, Operation, ServiceState

_DEFAULT_PAGE = 10
_SUGGESTIONS = 20
_OPEN_NAMES = ("HyperParameters", "Parameters", "Metrics", "Tags")  # whose members are named by users


@dataclass(frozen=True, kw_only=True)
class SearchedKind:
    """A kind of resource. kind: in the table.  member: of a search record.  members: describes a resource."""

    kind: str
    member: str
    members: Callable[[ServiceState, Resource], Mapping[str, Any]]


def _training_members(state: ServiceState, row: Resource) -> dict[str, Any]:
    return describe(row, state.training_jobs.progress(row.name), state.account)


def _component_members(state: ServiceState, row: Resource) -> dict[str, Any]:
    members, source = component_members(state, row), row.document.get("source")
    job = row.document.get("job") or {}
    parents = [
        {"TrialName": trial.name, "ExperimentName": trial.document["request"]["ExperimentName"]}
        for name in row.document.get("trials", ())
        if (trial := state.table.get(TRIAL, name)) is not None
    ]
    detail = None
    if job.get("kind") == TRAINING_JOB and (training := state.table.get(TRAINING_JOB, job["name"])):
        detail = {"SourceArn": (source or {}).get("SourceArn"), "TrainingJob": _training_members(state, training)}
    return {**members, "Parents": parents or None, "SourceDetail": detail}


def _trial_members(state: ServiceState, row: Resource) -> dict[str, Any]:
    summaries = [
        {
            "TrialComponentName": part.name,
            "TrialComponentArn": part.document["arn"],
            "TrialComponentSource": part.document.get("source"),
            "CreationTime": part.created,
        }
        for part in state.table.every(TRIAL_COMPONENT)
        if row.name in part.document.get("trials", ())
    ]
    return {**trial_members(state, row), "TrialComponentSummaries": summaries or None}


def _endpoint_members(state: ServiceState, row: Resource) -> dict[str, Any]:
    return describe_endpoint(state, {"EndpointName": row.name})


def _model_members(state: ServiceState, row: Resource) -> dict[str, Any]:
    members = {**describe_model(state, {"ModelName": row.name}), "Tags": tag_list(row.tags) or None}
    return {**members, "Model": members}  # properties have their names with and without that of the record's member


def _tuning_members(state: ServiceState, row: Resource) -> dict[str, Any]:
    return describe_tuning_job(state, {"HyperParameterTuningJobName": row.name})


# A kind of resource that can be searched adds its line here.
KINDS: dict[str, SearchedKind] = {
    "TrainingJob": SearchedKind(kind=TRAINING_JOB, member="TrainingJob", members=_training_members),
    "Experiment": SearchedKind(kind=EXPERIMENT, member="Experiment", members=experiment_members),
    "ExperimentTrial": SearchedKind(kind=TRIAL, member="Trial", members=_trial_members),
    "ExperimentTrialComponent": SearchedKind(kind=TRIAL_COMPONENT, member="TrialComponent", members=_component_members),
    "Endpoint": SearchedKind(kind=ENDPOINT, member="Endpoint", members=_endpoint_members),
    "HyperParameterTuningJob": SearchedKind(kind=TUNING_JOB, member="HyperParameterTuningJob", members=_tuning_members),
    "Model": SearchedKind(kind=MODEL, member="Model", members=_model_members),
}


def search(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of the resources that fit an expression, the last changed first unless another order is asked."""
    searched = _searched_kind(request["Resource"])
    expression = request.get("SearchExpression", {})
    check_expression(expression)
    token = request.get("NextToken", "0")
    if not token.isdecimal():
        raise validation_error("The NextToken is not one that this service returned.")
    found = [members for members in _described(state, searched) if fits(searchable(members), expression)]
    sort_by = request.get("SortBy", "LastModifiedTime")
    ordered = _sorted(found, sort_by, descending=request.get("SortOrder", "Descending") == "Descending")
    start, limit = int(token), request.get("MaxResults", _DEFAULT_PAGE)
    page = ordered[start : start + limit]
    shape = _record_shape(searched)
    return {
        "Results": [{searched.member: known_members(members, shape)} for members in page],
        "NextToken": str(start + limit) if start + limit < len(ordered) else None,
        "TotalHits": {"Value": len(ordered), "Relation": "EqualTo"},
    }


def get_search_suggestions(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names of properties that begin with a hint."""
    searched = _searched_kind(request["Resource"])
    hint = request.get("SuggestionQuery", {}).get("PropertyNameQuery", {}).get("PropertyNameHint", "").lower()
    names = {*_property_names(_record_shape(searched))}
    for members in _described(state, searched):
        document = searchable(members)
        names |= {f"{group}.{name}" for group in _OPEN_NAMES for name in document.get(group) or ()}
    suggested = [name for name in sorted(names) if name.lower().startswith(hint)][:_SUGGESTIONS]
    return {"PropertyNameSuggestions": [{"PropertyName": name} for name in suggested]}


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("sagemaker", "Search"): search,
    ("sagemaker", "GetSearchSuggestions"): get_search_suggestions,
}


def _searched_kind(resource: str) -> SearchedKind:
    if resource not in KINDS:
        raise validation_error(f"The local service cannot search {resource}. It can: {', '.join(KINDS)}.")
    return KINDS[resource]


def _described(state: ServiceState, searched: SearchedKind) -> Iterator[dict[str, Any]]:
    for row in state.table.every(searched.kind):
        yield {**searched.members(state, row), "Tags": tag_list(row.tags) or None}


def _sorted(found: list[dict[str, Any]], name: str, *, descending: bool) -> list[dict[str, Any]]:
    """Return descriptions in the order of a property; those without it come last."""
    keyed = [(next(property_values(searchable(members), name), None), members) for members in found]
    having = [(value, members) for value, members in keyed if isinstance(value, str | int | float)]
    # Numbers before texts: a property may have both, as hyperparameters do.
    having.sort(key=lambda item: (isinstance(item[0], str), item[0]), reverse=descending)
    missing = [members for value, members in keyed if not isinstance(value, str | int | float)]
    return [*(members for _, members in having), *missing]


def _record_shape(searched: SearchedKind) -> Any:
    return service_model("sagemaker").shape_for("SearchRecord").members[searched.member]


def _property_names(shape: Any, path: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the paths of a shape's members, three levels deep."""
    for name, inner in shape.members.items():
        while inner.type_name == "list":
            inner = inner.member
        if inner.type_name == "structure" and depth < 2:
            yield from _property_names(inner, f"{path}{name}.", depth + 1)
        elif inner.type_name not in ("structure", "map"):
            yield f"{path}{name}"
