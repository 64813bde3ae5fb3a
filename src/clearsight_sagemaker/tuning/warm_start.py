"""Warm start of a tuning job: what its parents must have in common with it, and what they have found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clearsight.core.space import Choice, FloatRange
from clearsight_sagemaker.protocols.errors import ServiceError, validation_error
from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.tuning.child import TuningChild
from clearsight_sagemaker.tuning.definitions import OBJECTIVE_PARAMETER, TuningDefinition
from clearsight_sagemaker.tuning.parameter_ranges import TunedParameter
from clearsight_sagemaker.tuning.tuning_job import IN_PROGRESS, TuningJob

_MOST_CHANGES = 10  # of hyperparameters between static and tuned
_IDENTICAL = "IdenticalDataAndAlgorithm"


def parent_names(request: Mapping[str, Any]) -> list[str]:
    """Return the names of the parents that a request has."""
    parents = request.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", ())
    names = [parent.get("HyperParameterTuningJobName", "") for parent in parents]
    if len({*names}) < len(names) or "" in names:
        raise validation_error("WarmStartConfig must name each parent hyperparameter tuning job once.")
    return names


def check_parent(
    request: Mapping[str, Any], definitions: Sequence[TuningDefinition], name: str, parent: Resource | None
) -> TuningJob:
    """Return a parent; raises ServiceError for one that the tuning job cannot start from."""
    if parent is None:
        raise ServiceError("ResourceNotFound", f"The parent hyperparameter tuning job {name} was not found.")
    if parent.status in IN_PROGRESS:
        raise _parent_error(name, f"its status is {parent.status}, and it must have ended")
    earlier = TuningJob(parent)
    if [definition.name for definition in definitions] != [definition.name for definition in earlier.definitions]:
        raise _parent_error(name, "it has other training job definitions")
    for new, old in zip(definitions, earlier.definitions, strict=True):
        _check_definition(name, new, old)
        if request["WarmStartConfig"]["WarmStartType"] == _IDENTICAL:
            _check_identical(name, new, old)
    return earlier


def parent_trials(definitions: Sequence[TuningDefinition], parent: TuningJob) -> Iterator[dict[str, Any]]:
    """Yield what a parent's own training jobs have found, where their values lie in the ranges now."""
    by_name = {definition.name: definition for definition in definitions}
    for child in parent.scored:
        definition = by_name[child.definition]
        texts = {**parent.definition(child).static, **child.tuned}
        try:
            tuned = {each.name: texts[each.name] for each in definition.parameters}
            definition.searched(tuned)
        except (KeyError, ValueError):  # outside the ranges that the new job has
            continue
        assert child.end is not None
        facts = {"value": child.end.value, "source": parent.resource.name}
        yield {"definition": definition.name, "tuned": tuned, **facts}


def best_parent(parents: Sequence[TuningJob]) -> tuple[TuningJob, TuningChild] | None:
    """Return the best training job of all parents with its tuning job; None without one."""
    found: tuple[TuningJob, TuningChild] | None = None
    for parent in parents:
        best = parent.best
        if best is None or best.end is None or best.end.value is None:
            continue
        before = found[1].end.value if found is not None and found[1].end is not None else None
        if before is None or parent.objective.better(best.end.value, before):
            found = parent, best
    return found


def _check_definition(name: str, new: TuningDefinition, old: TuningDefinition) -> None:
    if (new.metric, new.kind) != (old.metric, old.kind):
        problem = f"its objective is {old.kind} {old.metric}, and that of this job {new.kind} {new.metric}"
        raise _parent_error(name, problem)
    counts = [len(_all_names(definition)) for definition in (new, old)]
    if counts[0] != counts[1]:
        problem = f"it has {counts[1]} static and tuned hyperparameters in all, and this job has {counts[0]}"
        raise _parent_error(name, problem)
    before = {each.name: _kind(each) for each in old.parameters}
    for each in new.parameters:
        if before.get(each.name, _kind(each)) != _kind(each):
            problem = f"its hyperparameter {each.name!r} is {before[each.name]}, and that of this job {_kind(each)}"
            raise _parent_error(name, problem)
    changes = len({each.name for each in new.parameters} ^ before.keys())
    if changes > _MOST_CHANGES:
        problem = f"{changes} hyperparameters are static in one job and tuned in the other"
        raise _parent_error(name, f"{problem}, and at most {_MOST_CHANGES} may be")


def _check_identical(name: str, new: TuningDefinition, old: TuningDefinition) -> None:
    for member in ("TrainingImage", "AlgorithmName"):
        parts = [definition.request["AlgorithmSpecification"].get(member) for definition in (new, old)]
        if parts[0] != parts[1]:
            raise _parent_error(name, f"with {_IDENTICAL} the {member} must be the same ({parts[1]})")
    if new.request.get("InputDataConfig") != old.request.get("InputDataConfig"):
        raise _parent_error(name, f"with {_IDENTICAL} the InputDataConfig must be the same. Use TransferLearning")


def _all_names(definition: TuningDefinition) -> set[str]:
    return {*definition.static, *(each.name for each in definition.parameters)} - {OBJECTIVE_PARAMETER}


def _kind(parameter: TunedParameter) -> str:
    if isinstance(parameter.domain, Choice):
        return "categorical"
    return "continuous" if isinstance(parameter.domain, FloatRange) else "an integer"


def _parent_error(name: str, problem: str) -> ServiceError:
    return validation_error(f"The tuning job cannot start from the parent {name}: {problem}.")
