"""Rules of a CreateHyperParameterTuningJob request that its shape does not have, and its defaults."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from clearsight.core.space import Choice
from clearsight_sagemaker.protocols.errors import ServiceError, validation_error
from clearsight_sagemaker.resources.tags import tag_map
from clearsight_sagemaker.resources.training_job_requests import checked_training_request
from clearsight_sagemaker.tuning.definitions import (
    FINDINGS_RULES,
    FINDINGS_TAG,
    TuningDefinition,
    definition_requests,
    definitions_of,
)
from clearsight_sagemaker.tuning.parameter_ranges import complete_ranges

_MOST_JOBS, _MOST_PARALLEL, _MOST_DEFINITIONS, _MOST_HYPERPARAMETERS = 750, 100, 10, 100


def checked_tuning_request(request: Mapping[str, Any]) -> tuple[dict[str, Any], list[TuningDefinition]]:
    """Return the request with its defaults, and its definitions; raises ServiceError for one that cannot run here."""
    config = dict(request["HyperParameterTuningJobConfig"])
    _check_definitions(request, config)
    fixed: dict[str, str] = {}
    if "ParameterRanges" in config:
        config["ParameterRanges"], fixed = complete_ranges(config["ParameterRanges"])
    config.setdefault("TrainingJobEarlyStoppingType", "Off")
    tags = tag_map(request.get("Tags", []))
    _check_findings_tag(tags)
    checked = _with_parts(
        {**request, "HyperParameterTuningJobConfig": config}, lambda part: _with_ranges(_with_static(part, fixed))
    )
    by_name = {definition.name: definition for definition in definitions_of(checked)}
    for definition in by_name.values():
        _check_names(definition)
    is_list = "TrainingJobDefinitions" in request

    def completed(part: Mapping[str, Any]) -> dict[str, Any]:
        return _with_algorithm(part, by_name[part["DefinitionName"] if is_list else ""], tags)

    checked = _with_parts(checked, completed)
    definitions = definitions_of(checked)
    config["ResourceLimits"] = _limits(config, definitions)
    _check_strategy(config)
    return checked, definitions


def _with_parts(request: Mapping[str, Any], changed: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Return a request with each of its training job definitions replaced by what a function makes of it."""
    if "TrainingJobDefinition" in request:
        return {**request, "TrainingJobDefinition": changed(request["TrainingJobDefinition"])}
    return {**request, "TrainingJobDefinitions": [changed(part) for part in request["TrainingJobDefinitions"]]}


def _check_definitions(request: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Check that objective and ranges are where they belong, of one definition or of several."""
    if ("TrainingJobDefinition" in request) == ("TrainingJobDefinitions" in request):
        raise validation_error("A tuning job needs either TrainingJobDefinition or TrainingJobDefinitions.")
    definitions = [*definition_requests(request)]
    if not 1 <= len(definitions) <= _MOST_DEFINITIONS:
        raise validation_error(f"TrainingJobDefinitions must be 1 to {_MOST_DEFINITIONS}, not {len(definitions)}.")
    if "TrainingJobDefinition" in request:
        if not ("HyperParameterTuningJobObjective" in config or "TuningObjective" in definitions[0]):
            raise validation_error("A HyperParameterTuningJobObjective is required for this hyperparameter tuning job.")
        if not ("ParameterRanges" in config or "HyperParameterRanges" in definitions[0]):
            raise validation_error("ParameterRanges are required for this hyperparameter tuning job.")
        return
    for member in ("HyperParameterTuningJobObjective", "ParameterRanges"):
        if member in config:
            members = "TuningObjective and HyperParameterRanges of each definition"
            raise validation_error(f"With TrainingJobDefinitions, {member} must be left out: use {members}.")
    for member in ("DefinitionName", "TuningObjective", "HyperParameterRanges"):
        if any(member not in definition for definition in definitions):
            raise validation_error(f"Each of TrainingJobDefinitions must have a {member}.")
    names = [definition["DefinitionName"] for definition in definitions]
    if len({*names}) < len(names):
        raise validation_error("TrainingJobDefinitions must have a DefinitionName of their own each.")
    if len({definition["TuningObjective"]["Type"] for definition in definitions}) > 1:
        raise validation_error("The TuningObjective of all TrainingJobDefinitions must have the same Type.")


def _with_ranges(definition: Mapping[str, Any]) -> dict[str, Any]:
    if "HyperParameterRanges" not in definition:
        return dict(definition)
    ranges, fixed = complete_ranges(definition["HyperParameterRanges"])
    return {**_with_static(definition, fixed), "HyperParameterRanges": ranges}


def _with_static(definition: Mapping[str, Any], fixed: Mapping[str, str]) -> dict[str, Any]:
    """Return a definition with more static hyperparameters."""
    if not fixed:
        return dict(definition)
    return {**definition, "StaticHyperParameters": {**definition.get("StaticHyperParameters", {}), **fixed}}


def _limits(config: Mapping[str, Any], definitions: list[TuningDefinition]) -> dict[str, Any]:
    """Return ResourceLimits with a number of training jobs: clients read it without asking whether it is there."""
    limits = config["ResourceLimits"]
    most, parallel = limits.get("MaxNumberOfTrainingJobs"), limits["MaxParallelTrainingJobs"]
    if config["Strategy"] == "Grid":
        size = _grid_size(definitions)
        if most not in (None, size):
            text = f"MaxNumberOfTrainingJobs is {most}, and the grid has {size} combinations."
            raise validation_error(f"{text} Leave it out, or set it to {size}.")
        most = size
    if most is None:
        if not ("MaxRuntimeInSeconds" in limits or config.get("TuningJobCompletionCriteria")):
            raise validation_error(
                "ResourceLimits needs MaxNumberOfTrainingJobs where nothing else ends the tuning job."
            )
        most = _MOST_JOBS
    for name, value, limit in (
        ("MaxNumberOfTrainingJobs", most, _MOST_JOBS),
        ("MaxParallelTrainingJobs", parallel, _MOST_PARALLEL),
    ):
        if value > limit:
            raise ServiceError("ResourceLimitExceeded", f"{name} may be {limit} at most, not {value}.")
    return {**limits, "MaxNumberOfTrainingJobs": most}


def _grid_size(definitions: list[TuningDefinition]) -> int:
    size = 0
    for definition in definitions:
        counts = []
        for each in definition.parameters:
            if not isinstance(each.domain, Choice):
                text = f"The strategy Grid is for categorical ranges alone, and {each.name!r} has another one."
                raise validation_error(f"{text} List its values, or use Random.")
            counts.append(len(each.domain.values))
        size += math.prod(counts)
    return size


def _check_strategy(config: Mapping[str, Any]) -> None:
    settings = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig")
    if config["Strategy"] != "Hyperband":
        if settings is not None:
            raise validation_error("HyperbandStrategyConfig is for the strategy Hyperband alone.")
        return
    if config["TrainingJobEarlyStoppingType"] != "Off":
        raise validation_error(
            "TrainingJobEarlyStoppingType must be Off with the strategy Hyperband, which stops jobs itself."
        )
    low, high = (settings or {}).get("MinResource"), (settings or {}).get("MaxResource")
    if low is not None and high is not None and low > high:
        raise validation_error(f"MinResource {low} must not be above MaxResource {high}.")


def _check_findings_tag(tags: Mapping[str, str]) -> None:
    for rule in tags.get(FINDINGS_TAG, "").split():
        if rule not in FINDINGS_RULES:
            known = ", ".join(FINDINGS_RULES)
            raise validation_error(
                f"The tag {FINDINGS_TAG} names the rule {rule!r}. Allowed, with blanks between them: {known}."
            )


def _check_names(definition: TuningDefinition) -> None:
    """Raise ServiceError for hyperparameters that no training job could have."""
    static = definition.request.get("StaticHyperParameters", {})
    ranges = {each.name for each in definition.parameters}
    if not ranges:
        raise validation_error("At least one hyperparameter must have a range.")
    if both := sorted(ranges & static.keys()):
        raise validation_error(f"The hyperparameter {both[0]!r} is both static and tuned. Keep one.")
    count = len(definition.static) + len(ranges)
    if count > _MOST_HYPERPARAMETERS:
        text = f"A training job may have {_MOST_HYPERPARAMETERS} hyperparameters"
        raise validation_error(f"{text}, and this definition has {count} static and tuned ones.")


def _with_algorithm(part: Mapping[str, Any], definition: TuningDefinition, tags: Mapping[str, str]) -> dict[str, Any]:
    """Return a definition with the metrics of its algorithm, as its training jobs will have them.

    Raises ServiceError where a training job could not be created, or does not have the objective.
    """
    tuned = {each.name: "0" for each in definition.parameters}
    algorithm = checked_training_request(definition.training_request("check", tuned, tags))["AlgorithmSpecification"]
    names = {metric["Name"] for metric in algorithm.get("MetricDefinitions", ())}
    if not names:
        text = "A metric is required for this hyperparameter tuning job objective."
        raise validation_error(f"{text} Provide a metric in the metric definitions.")
    if definition.metric not in names:
        metric = definition.metric
        text = f"The objective metric for the hyperparameter tuning job, [{metric}], isn't valid for the algorithm."
        raise validation_error(f"{text} Its metric definitions have {', '.join(sorted(names))}.")
    return {**part, "AlgorithmSpecification": algorithm}
