"""Rules of a CreateTrainingJob request that its shape does not have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from clearsight_sagemaker.algorithms.built_in_algorithms import METRIC_DEFINITIONS, built_in_algorithm
from clearsight_sagemaker.protocols.errors import validation_error
from clearsight_sagemaker.resources.training_images import training_image

_DEFAULT_SECONDS = 86_400
# Jobs that a managed service alone can run; without an error the job would silently be another one.
_REFUSED = ("ServerlessJobConfig", "ModelPackageConfig", "SessionChainingConfig")


def checked_training_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request with its defaults; raises ServiceError for one that cannot become a job here."""
    for name in _REFUSED:
        if name in request:
            raise validation_error(f"The local service runs no jobs with {name}. Leave it out.")
    algorithm = request.get("AlgorithmSpecification", {})
    if "AlgorithmName" in algorithm or "TrainingImage" not in algorithm:
        named = f"the algorithm {algorithm['AlgorithmName']}" if "AlgorithmName" in algorithm else "no TrainingImage"
        raise validation_error(
            f"AlgorithmSpecification names {named}. The local service needs a TrainingImage of PyTorch."
        )
    algorithm = _checked_algorithm(algorithm)
    resources = request.get("ResourceConfig", {})
    if not ({"InstanceType", "InstanceCount"} <= resources.keys() or "InstanceGroups" in resources):
        raise validation_error("ResourceConfig must have InstanceType and InstanceCount, or InstanceGroups.")
    stopping = {"MaxRuntimeInSeconds": _DEFAULT_SECONDS, **request.get("StoppingCondition", {})}
    _check_spot(request, stopping)
    _check_metrics(algorithm.get("MetricDefinitions", []))
    _check_unique("InputDataConfig", "ChannelName", request.get("InputDataConfig", []))
    for kind in ("DebugRuleConfigurations", "ProfilerRuleConfigurations"):
        _check_unique(kind, "RuleConfigurationName", request.get(kind, []))
    return {**request, "AlgorithmSpecification": algorithm, "StoppingCondition": stopping}


def _checked_algorithm(algorithm: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return AlgorithmSpecification, with the metrics of a built-in algorithm; raises ServiceError."""
    if not built_in_algorithm(algorithm["TrainingImage"]):
        training_image(algorithm["TrainingImage"])
        return algorithm
    definitions = [*METRIC_DEFINITIONS]
    if algorithm.get("MetricDefinitions", definitions) != definitions:
        raise validation_error(
            "You can't override the metric definitions for Amazon SageMaker algorithms. Please retry the request"
            " without specifying metric definitions."
        )
    return {**algorithm, "MetricDefinitions": definitions}


def _check_spot(request: Mapping[str, Any], stopping: Mapping[str, Any]) -> None:
    runtime, wait = stopping["MaxRuntimeInSeconds"], stopping.get("MaxWaitTimeInSeconds")
    if request.get("EnableManagedSpotTraining"):
        if wait is None or wait < runtime:
            raise validation_error(
                f"Invalid MaxWaitTimeInSeconds {wait}. With EnableManagedSpotTraining it must be"
                f" at least MaxRuntimeInSeconds ({runtime})."
            )
    elif wait is not None:
        raise validation_error("MaxWaitTimeInSeconds is for jobs with EnableManagedSpotTraining.")


def _check_metrics(definitions: Iterable[Mapping[str, Any]]) -> None:
    for definition in definitions:
        try:
            re.compile(definition["Regex"])
        except re.error as error:
            raise validation_error(
                f"The Regex {definition['Regex']!r} of the metric {definition['Name']!r} is not valid: {error}."
            ) from None


def _check_unique(member: str, key: str, items: Iterable[Mapping[str, Any]]) -> None:
    name, count = next(iter(Counter(str(item[key]) for item in items).most_common(1)), ("", 0))
    if count > 1:
        raise validation_error(f"{member} has {key} {name!r} {count} times. It must be unique.")
