"""TuningDefinition: a training job definition of a tuning job, and the requests of the training jobs that it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from clearsight.core.space import Choice, Dimension, Params, Space
from clearsight_sagemaker.training.environment import RECORDING
from clearsight_sagemaker.tuning.parameter_ranges import TunedParameter, tuned_parameters

OBJECTIVE_PARAMETER = "_tuning_objective_metric"
FINDINGS_TAG = "clearsight:stop-on-findings"  # its value: names of rules, with blanks between them

_DEFINITION = "TrainingJobDefinition"  # the setting that chooses between several definitions
_VOLUME = 30  # GB, the default of the SDK
_SAVE_INTERVAL = "10"  # steps between two that rules judge
_RULES_IMAGE = "clearsight/debugger-rules:latest"
# Members of a definition that a training job has under the same name.
_COPIED = (
    *("AlgorithmSpecification", "RoleArn", "InputDataConfig", "VpcConfig", "OutputDataConfig", "StoppingCondition"),
    *("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"),
    *("RetryStrategy", "Environment"),
)
# Rules that may end a training job, and the collections of tensors that they judge.
FINDINGS_RULES: dict[str, tuple[str, ...]] = {
    "ExplodingTensor": ("losses", "gradients"),
    "LossNotDecreasing": ("losses",),
    "Overfit": ("losses",),
    "Overtraining": ("losses",),
    "VanishingGradient": ("gradients",),
    "WeightUpdateRatio": ("weights",),
}


@dataclass(frozen=True, kw_only=True)
class TuningDefinition:
    """A definition. name: "" for the only one of a job.  metric, kind: of its objective, kind Maximize or Minimize."""

    name: str
    metric: str
    kind: Literal["Maximize", "Minimize"]
    parameters: Sequence[TunedParameter]
    request: Mapping[str, Any]

    @property
    def static(self) -> dict[str, str]:
        """Hyperparameters that do not vary, with the name of the objective as the container gets it."""
        return with_objective(self.request.get("StaticHyperParameters", {}), self.metric)

    def setting(self, parameter: str) -> str:
        """Return the name of a parameter in the space of the search."""
        return f"{self.name}/{parameter}" if self.name else parameter

    def training_request(self, name: str, tuned: Mapping[str, str], tags: Mapping[str, str]) -> dict[str, Any]:
        """Return the request of a training job. tuned: values by name.  tags: of the tuning job."""
        request = {member: self.request[member] for member in _COPIED if member in self.request}
        request |= {
            "TrainingJobName": name,
            "HyperParameters": {**self.static, **tuned},
            "ResourceConfig": resource_config(self.request),
        }
        if checkpoints := self.request.get("CheckpointConfig"):
            # A folder for each job: one job must not go on from the checkpoints of another.
            folder = f"{checkpoints['S3Uri'].rstrip('/')}/{name}"
            request["CheckpointConfig"] = {**checkpoints, "S3Uri": folder}
        if tags:
            request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
        # A tag that was added later is not checked: rules that are not known are left out.
        if rules := [rule for rule in tags.get(FINDINGS_TAG, "").split() if rule in FINDINGS_RULES]:
            request |= _debugging(rules, request["OutputDataConfig"]["S3OutputPath"])
            request["Environment"] = {RECORDING: "1", **request.get("Environment", {})}
        return request

    def values(self, proposal: Params) -> dict[str, str]:
        """Return the texts of a proposal of the search, by parameter."""
        return {parameter.name: parameter.text(proposal[self.setting(parameter.name)]) for parameter in self.parameters}

    def searched(self, tuned: Mapping[str, str]) -> dict[str, Any]:
        """Return texts as the search knows them; raises ValueError or KeyError for texts outside the ranges."""
        searched = {self.setting(each.name): each.searched(tuned[each.name]) for each in self.parameters}
        return {**({_DEFINITION: self.name} if self.name else {}), **searched}

    def plain(self, tuned: Mapping[str, str]) -> dict[str, Any]:
        """Return texts as values that people read; raises ValueError or KeyError for texts outside the ranges."""
        plain = {self.setting(each.name): each.value(tuned[each.name]) for each in self.parameters}
        return {**({_DEFINITION: self.name} if self.name else {}), **plain}


def definitions_of(request: Mapping[str, Any]) -> list[TuningDefinition]:
    """Return the definitions of a CreateHyperParameterTuningJob request that was checked."""
    config = request["HyperParameterTuningJobConfig"]
    found = []
    for definition in definition_requests(request):
        objective = config.get("HyperParameterTuningJobObjective") or definition["TuningObjective"]
        ranges = config.get("ParameterRanges") or definition["HyperParameterRanges"]
        found.append(
            TuningDefinition(
                name=definition.get("DefinitionName", "") if "TrainingJobDefinitions" in request else "",
                metric=objective["MetricName"],
                kind=objective["Type"],
                parameters=tuned_parameters(ranges),
                request=definition,
            )
        )
    return found


def definition_requests(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the definitions of a request as they are in it."""
    if "TrainingJobDefinition" in request:
        yield request["TrainingJobDefinition"]
    yield from request.get("TrainingJobDefinitions", ())


def search_space(definitions: Sequence[TuningDefinition], *, plain: bool = False) -> Space:
    """Return the space of all definitions: where there are several, the first setting chooses one.

    plain: with the values that people read, where the search has others.
    """
    names = tuple(definition.name for definition in definitions if definition.name)
    dimensions = [Dimension(name=_DEFINITION, domain=Choice(values=names))] if names else []
    for definition in definitions:
        condition = {_DEFINITION: (definition.name,)} if definition.name else {}
        dimensions += [
            Dimension(
                name=definition.setting(parameter.name),
                domain=parameter.domain if plain else parameter.search_domain,
                condition=condition,
            )
            for parameter in definition.parameters
        ]
    return Space(tuple(dimensions))


def chosen_definition(definitions: Sequence[TuningDefinition], proposal: Params) -> TuningDefinition:
    """Return the definition that a proposal of the search is for."""
    name = proposal.get(_DEFINITION, definitions[0].name)
    return next(definition for definition in definitions if definition.name == name)


def first_choice(definitions: Sequence[TuningDefinition], number: int) -> dict[str, str]:
    """Return the choice that is given for trial `number`, from 0: each definition is tried once before any again."""
    return {_DEFINITION: definitions[number].name} if len(definitions) > 1 and number < len(definitions) else {}


def with_objective(static: Mapping[str, str], metric: str) -> dict[str, str]:
    """Return static hyperparameters with the name of the objective, quoted as the others are.

    Estimators of frameworks send all values as JSON, others send plain texts.
    """
    is_json = static.get("sagemaker_program", "").startswith('"')
    is_json = is_json or static.get("sagemaker_submit_directory", "").startswith('"')
    return {**static, OBJECTIVE_PARAMETER: f'"{metric}"' if is_json else metric}


def resource_config(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ResourceConfig of training jobs, whichever of its two forms the definition has."""
    if "ResourceConfig" in definition:
        return dict(definition["ResourceConfig"])
    tuning: Mapping[str, Any] = definition.get("HyperParameterTuningResourceConfig", {})
    first: Mapping[str, Any] = next(iter(tuning.get("InstanceConfigs", ())), {})
    members = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")
    return {"VolumeSizeInGB": _VOLUME, **{name: tuning[name] for name in members if name in tuning}, **first}


def _debugging(rules: Sequence[str], output: str) -> dict[str, Any]:
    collections = sorted({name for rule in rules for name in FINDINGS_RULES[rule]})
    parameters = {"save_interval": _SAVE_INTERVAL}
    return {
        "DebugHookConfig": {
            "S3OutputPath": output,
            "HookParameters": parameters,
            "CollectionConfigurations": [
                {"CollectionName": name, "CollectionParameters": parameters} for name in collections
            ],
        },
        "DebugRuleConfigurations": [
            {
                "RuleConfigurationName": rule,
                "RuleEvaluatorImage": _RULES_IMAGE,
                "RuleParameters": {"rule_to_invoke": rule},
            }
            for rule in rules
        ],
    }
