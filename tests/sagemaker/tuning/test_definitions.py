"""Requests of the training jobs that a definition makes."""

from __future__ import annotations

from typing import Any

import pytest

from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.resources.tuning_job_requests import checked_tuning_request
from clearsight_sagemaker.tuning.definitions import FINDINGS_TAG, resource_config, with_objective
from tests.sagemaker.tuning.tuning_requests import LOSS, continuous, definition, tuning_request

TAGS = {"team": "dogs"}


def made(tags: dict[str, str] | None = None, **members: Any) -> dict[str, Any]:
    """Return the request of a training job of a definition with some members."""
    request = {**tuning_request("hpo"), "TrainingJobDefinition": definition(**members)}
    [found] = checked_tuning_request(request)[1]
    return found.training_request("hpo-001-abc", {"x": "1.5"}, tags or {})


def test_a_training_job_has_static_and_tuned_hyperparameters_and_the_objective() -> None:
    request = made(TAGS, Environment={"A": "1"}, EnableNetworkIsolation=True)
    assert request["HyperParameters"] == {
        "script": "score",
        "sagemaker_program": '"train.py"',
        "_tuning_objective_metric": '"loss"',
        "x": "1.5",
    }
    assert request["Tags"] == [{"Key": "team", "Value": "dogs"}]
    assert (request["Environment"], request["EnableNetworkIsolation"]) == ({"A": "1"}, True)
    assert request["ResourceConfig"] == {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
    assert "StaticHyperParameters" not in request


@pytest.mark.parametrize(
    ("static", "expected"),
    [
        ({"sagemaker_program": '"train.py"'}, '"loss"'),
        ({"sagemaker_submit_directory": '"s3://dogs/source.tar.gz"'}, '"loss"'),
        ({"sagemaker_program": "train.py"}, "loss"),  # SDK v3
        ({"epochs": "5"}, "loss"),
    ],
)
def test_the_objective_is_quoted_as_the_other_hyperparameters_are(static: dict[str, str], expected: str) -> None:
    assert with_objective(static, "loss") == {**static, "_tuning_objective_metric": expected}


def test_both_forms_of_the_resources() -> None:
    plain = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 5}
    assert resource_config({"ResourceConfig": plain}) == plain
    choices = {
        "AllocationStrategy": "Prioritized",
        "InstanceConfigs": [plain, {**plain, "InstanceType": "ml.m4.xlarge"}],
    }
    assert resource_config({"HyperParameterTuningResourceConfig": choices}) == plain


def test_each_training_job_has_checkpoints_of_its_own() -> None:
    request = made(CheckpointConfig={"S3Uri": "s3://dogs/checkpoints/", "LocalPath": "/opt/ml/checkpoints"})
    assert request["CheckpointConfig"] == {
        "S3Uri": "s3://dogs/checkpoints/hpo-001-abc",
        "LocalPath": "/opt/ml/checkpoints",
    }


def test_parameters_without_a_range_of_their_own_get_one_or_stay_static() -> None:
    hints = {"x": "1.5", "sagemaker_submit_directory": '"s3://dogs/source.tar.gz"'}
    ranges = {"AutoParameters": [{"Name": name, "ValueHint": hint} for name, hint in hints.items()]}
    request = tuning_request("hpo", ParameterRanges=ranges)
    checked, [found] = checked_tuning_request({**request, "Autotune": {"Mode": "Enabled"}})
    assert [each.name for each in found.parameters] == ["x"]
    assert found.static["sagemaker_submit_directory"] == hints["sagemaker_submit_directory"]
    assert "AutoParameters" not in checked["HyperParameterTuningJobConfig"]["ParameterRanges"]


def test_a_tag_adds_rules_that_end_a_training_job() -> None:
    request = made({FINDINGS_TAG: "LossNotDecreasing VanishingGradient"})
    rules = [rule["RuleParameters"] for rule in request["DebugRuleConfigurations"]]
    assert rules == [{"rule_to_invoke": "LossNotDecreasing"}, {"rule_to_invoke": "VanishingGradient"}]
    collections = request["DebugHookConfig"]["CollectionConfigurations"]
    assert [collection["CollectionName"] for collection in collections] == ["gradients", "losses"]
    assert request["Environment"] == {"CLEARSIGHT_RECORD_TENSORS": "1"}, "a script that asks for none is recorded"


SEVERAL = {
    **{key: value for key, value in tuning_request("hpo").items() if key != "TrainingJobDefinition"},
    "HyperParameterTuningJobConfig": {
        "Strategy": "Random",
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 1},
    },
}


def named(name: str, **members: Any) -> dict[str, Any]:
    ranges = {"ContinuousParameterRanges": [continuous("x", 1, 2)]}
    return definition(**{"DefinitionName": name, "TuningObjective": LOSS, "HyperParameterRanges": ranges, **members})


def test_several_definitions() -> None:
    request = {**SEVERAL, "TrainingJobDefinitions": [named("first"), named("second")]}
    checked, definitions = checked_tuning_request(request)
    assert [(each.name, each.metric, each.kind) for each in definitions] == [
        ("first", "loss", "Minimize"),
        ("second", "loss", "Minimize"),
    ]
    assert checked["TrainingJobDefinitions"][0]["HyperParameterRanges"]["CategoricalParameterRanges"] == []


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([named("first"), named("first")], "must have a DefinitionName of their own each"),
        ([named("first"), definition()], "Each of TrainingJobDefinitions must have a DefinitionName"),
        (
            [named("first"), named("second", TuningObjective={**LOSS, "Type": "Maximize"})],
            "must have the same Type",
        ),
    ],
)
def test_definitions_that_do_not_fit_together(parts: list[dict[str, Any]], text: str) -> None:
    with pytest.raises(ServiceError, match=text):
        checked_tuning_request({**SEVERAL, "TrainingJobDefinitions": parts})
