"""Requests to SageMaker: a training job, a tuning job, and the model and configuration of an endpoint."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.recipe import Recipe
from clearsight.core.space import Choice, Dimension, FloatRange, IntRange, Space
from clearsight.core.study import StudyPlan
from clearsight_sagemaker.remote.options import SageMakerOptions
from clearsight_sagemaker.remote.packing import SERVE_PROGRAM, TRAIN_PROGRAM

_MOST_VALUES = 30  # of a categorical parameter
_STRATEGIES = {"tpe": "Bayesian", "gp": "Bayesian", "random": "Random", "grid": "Grid", "hyperband": "Hyperband"}
# Seconds that a container may take until it answers: it installs packages first.
_START_SECONDS = 900


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmittedJob:
    """Parts that all jobs of a submission have in common.

    source: URI of sourcedir.tar.gz.  channels: name -> URI.  output: URI under which results are put.  metric: of the
    validation images, which is read from the log.
    """

    name: str
    role: str
    image: str
    source: str
    channels: Mapping[str, str]
    output: str
    region: str
    metric: str


def training_request(job: SubmittedJob, options: SageMakerOptions) -> dict[str, Any]:
    """Return the parameters of CreateTrainingJob."""
    return {
        "TrainingJobName": job.name,
        "AlgorithmSpecification": _algorithm(job),
        "HyperParameters": _toolkit(job),
        "ResourceConfig": _resources(options),
        "EnableManagedSpotTraining": options.spot,
        **_common(job, options),
    }


def tuning_request(job: SubmittedJob, options: SageMakerOptions, plan: StudyPlan, epochs: int) -> dict[str, Any]:
    """Return the parameters of CreateHyperParameterTuningJob. epochs: of a trial, the largest resource of Hyperband.

    Raises BadChoice and BadValue for a plan that SageMaker cannot carry out.
    """
    strategy = _strategy(plan)
    objective, ranges = plan.objectives[0], parameter_ranges(plan.space, grid=strategy == "Grid")
    if strategy == "Grid":
        size = math.prod(len(parameter["Values"]) for parameter in ranges["CategoricalParameterRanges"])
        if size != plan.trials:
            problem = f"a grid on sagemaker trains all of its {size} combinations"
            raise BadValue(f"--trials {plan.trials}", problem, fix="Leave --trials out.")
    kind = "Maximize" if objective.direction == "maximize" else "Minimize"
    config: dict[str, Any] = {
        "Strategy": strategy,
        "HyperParameterTuningJobObjective": {"Type": kind, "MetricName": _metric_name(job.metric)},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": plan.trials, "MaxParallelTrainingJobs": plan.parallel},
        "ParameterRanges": ranges,
        "TrainingJobEarlyStoppingType": _early_stopping(plan, strategy),
        "RandomSeed": plan.seed % 2**31,
    }
    if plan.time_limit is not None:
        config["ResourceLimits"]["MaxRuntimeInSeconds"] = max(120, round(plan.time_limit))
    if strategy == "Hyperband":
        resources = {"MinResource": 1, "MaxResource": epochs}
        config["StrategyConfig"] = {"HyperbandStrategyConfig": resources}
    if plan.target is not None:
        config["TuningJobCompletionCriteria"] = {"TargetObjectiveMetricValue": plan.target}
    if plan.stop_after is not None:
        criteria = config.setdefault("TuningJobCompletionCriteria", {})
        criteria["BestObjectiveNotImproving"] = {"MaxNumberOfTrainingJobsNotImproving": max(3, plan.stop_after)}
    definition = {
        "StaticHyperParameters": _toolkit(job),
        "AlgorithmSpecification": _algorithm(job),
        "ResourceConfig": _resources(options),
        "EnableManagedSpotTraining": options.spot,
        **_common(job, options),
    }
    return {
        "HyperParameterTuningJobName": job.name,
        "HyperParameterTuningJobConfig": config,
        "TrainingJobDefinition": definition,
    }


def model_request(name: str, *, role: str, image: str, data: str, region: str) -> dict[str, Any]:
    """Return the parameters of CreateModel. data: URI of model.tar.gz."""
    variables = {
        "SAGEMAKER_PROGRAM": SERVE_PROGRAM,
        "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
        "SAGEMAKER_CONTAINER_LOG_LEVEL": "20",
        "SAGEMAKER_REGION": region,
    }
    container = {"Image": image, "ModelDataUrl": data, "Environment": variables}
    return {"ModelName": name, "ExecutionRoleArn": role, "PrimaryContainer": container}


def endpoint_config_request(name: str, options: SageMakerOptions) -> dict[str, Any]:
    """Return the parameters of CreateEndpointConfig for the model of the same name."""
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": name,
        "InstanceType": options.endpoint_instance,
        "InitialInstanceCount": options.instance_count,
        "InitialVariantWeight": 1.0,
        "ContainerStartupHealthCheckTimeoutInSeconds": _START_SECONDS,
    }
    return {"EndpointConfigName": name, "ProductionVariants": [variant]}


def parameter_ranges(space: Space, *, grid: bool = False) -> dict[str, Any]:
    """Return ParameterRanges of a space; a range with steps becomes a list of its values, as all do for a grid.

    Raises BadValue for a condition, and for a list that is too long.
    """
    ranges: dict[str, list[dict[str, Any]]] = {}
    for dimension in space.dimensions:
        if dimension.condition:
            fix = "Leave the condition out, or tune on this machine."
            raise BadValue(f"--space {dimension.name}", "a search on sagemaker has no conditions", fix=fix)
        kind, parameter = _parameter(dimension, grid=grid)
        ranges.setdefault(f"{kind}ParameterRanges", []).append(parameter)
    return ranges


def _parameter(dimension: Dimension, *, grid: bool) -> tuple[str, dict[str, Any]]:
    domain = dimension.domain
    has_steps = isinstance(domain, FloatRange) and domain.step is not None
    has_steps = has_steps or (isinstance(domain, IntRange) and domain.step != 1)
    if isinstance(domain, Choice) or grid or has_steps:
        # JSON, since the container reads each hyperparameter as JSON: "sgd", 64, null.
        values = [json.dumps(value) for value in domain.grid_values(5)]
        if len(values) > _MOST_VALUES:
            problem = f"{len(values)} values are too many for a search on sagemaker, which takes {_MOST_VALUES}"
            raise BadValue(f"--space {dimension.name}", problem, fix="Use a range without steps.")
        return "Categorical", {"Name": dimension.name, "Values": values}
    scaling = "Logarithmic" if domain.log else "Linear"
    ends = {"MinValue": repr(domain.low), "MaxValue": repr(domain.high)}
    kind = "Integer" if isinstance(domain, IntRange) else "Continuous"
    assert isinstance(domain, IntRange | FloatRange)
    return kind, {"Name": dimension.name, **ends, "ScalingType": scaling}


def _strategy(plan: StudyPlan) -> str:
    if plan.searcher not in _STRATEGIES:
        problem = "sagemaker has no such search"
        raise BadChoice(f"--search {plan.searcher}", problem, allowed=_STRATEGIES)
    return _STRATEGIES[plan.searcher]


def _early_stopping(plan: StudyPlan, strategy: str) -> str:
    """Return Auto where weak trials end early by the median rule, which is the one that SageMaker has."""
    if strategy == "Hyperband":  # it ends trials itself
        return "Off"
    if plan.pruner not in ("auto", "median", "none"):
        raise BadChoice(f"--prune {plan.pruner}", "sagemaker has no such pruner", allowed=("auto", "median", "none"))
    return "Off" if plan.pruner == "none" or strategy == "Grid" else "Auto"


def _algorithm(job: SubmittedJob) -> dict[str, Any]:
    pattern = rf"clearsight valid_{job.metric}=([-+0-9.eE]+)"
    return {
        "TrainingImage": job.image,
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": _metric_name(job.metric), "Regex": pattern}],
    }


def _metric_name(metric: str) -> str:
    return f"valid_{metric}"


def _toolkit(job: SubmittedJob) -> dict[str, str]:
    """Return the hyperparameters that the training toolkit of the image reads, as JSON."""
    values: dict[str, Any] = {
        "sagemaker_program": TRAIN_PROGRAM,
        "sagemaker_submit_directory": job.source,
        "sagemaker_container_log_level": 20,
        "sagemaker_job_name": job.name,
        "sagemaker_region": job.region,
    }
    return {name: json.dumps(value) for name, value in values.items()}


def _resources(options: SageMakerOptions) -> dict[str, Any]:
    return {
        "InstanceType": options.training_instance,
        "InstanceCount": 1,
        "VolumeSizeInGB": options.volume_gb,
    }


def _common(job: SubmittedJob, options: SageMakerOptions) -> dict[str, Any]:
    limits = {"MaxRuntimeInSeconds": round(options.max_run)}
    if options.spot:
        # As long again: a spot job also waits for instances.
        limits["MaxWaitTimeInSeconds"] = 2 * limits["MaxRuntimeInSeconds"]
    common: dict[str, Any] = {
        "RoleArn": job.role,
        "InputDataConfig": [_channel(name, uri) for name, uri in job.channels.items()],
        "OutputDataConfig": {"S3OutputPath": job.output},
        "StoppingCondition": limits,
    }
    if options.spot:
        common["CheckpointConfig"] = {"S3Uri": f"{job.output}/checkpoints/{job.name}"}
    return common


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def job_metric(recipe: Recipe, objectives: Sequence[Any] = ()) -> str:
    """Return the validation score that a job prints: the objective of a search, else what picks the best epoch."""
    return str(objectives[0].metric) if objectives else recipe.train.monitor
