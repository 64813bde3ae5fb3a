"""Requests of submissions: validated by the models of AWS and by the service's own rules on top of them."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.space import Choice, Dimension, FloatRange, IntRange, Space
from clearsight.core.study import StudyPlan
from clearsight.core.trial import Objective
from clearsight.tuning.space_syntax import parse_space
from clearsight_sagemaker.protocols.service_models import service_model
from clearsight_sagemaker.protocols.validation import check_request
from clearsight_sagemaker.remote.container.train_recipe import metric_line
from clearsight_sagemaker.remote.options import SageMakerOptions
from clearsight_sagemaker.remote.requests import (
    SubmittedJob,
    endpoint_config_request,
    model_request,
    parameter_ranges,
    training_request,
    tuning_request,
)

JOB = SubmittedJob(
    name="clearsight-dogs-1",
    role="arn:aws:iam::111122223333:role/service-role/Trainer",
    image=SageMakerOptions().image_uri("training", "us-east-1"),
    source="s3://dogs/source/sourcedir.tar.gz",
    channels={"data": "s3://dogs/data/dogs.tar", "weights": "s3://dogs/weights/w.safetensors"},
    output="s3://dogs/clearsight",
    region="us-east-1",
    metric="accuracy",
)


def check(operation: str, request: object) -> None:
    check_request(request, service_model("sagemaker").operation_model(operation).input_shape)


def plan(*space: str, **settings: object) -> StudyPlan:
    values = {"data": "dogs", "space": parse_space(space), "objectives": (Objective("accuracy", "maximize"),)}
    return StudyPlan.parse({**values, **settings})


@pytest.mark.parametrize("spot", ["true", "false"])
def test_a_training_job(spot: str) -> None:
    request = training_request(JOB, SageMakerOptions.of({"spot": spot, "max_run": "2h"}))
    check("CreateTrainingJob", request)
    assert request["EnableManagedSpotTraining"] == ("CheckpointConfig" in request) == (spot == "true")
    assert request["StoppingCondition"]["MaxRuntimeInSeconds"] == 7200


def test_a_metric_is_read_from_the_lines_of_the_script() -> None:
    [definition] = training_request(JOB, SageMakerOptions())["AlgorithmSpecification"]["MetricDefinitions"]
    for value in (0.5, 1e-07, 1.0, 12345678.9):
        found = re.search(definition["Regex"], metric_line("accuracy", value))
        assert found is not None
        assert float(found[1]) == value


def test_a_tuning_job_has_the_same_space() -> None:
    searched = plan("lr=log(1e-5,1e-1)", "epochs=int(5,40)", "batch_size=[32,64]", "optimizer=[sgd,adamw]")
    request = tuning_request(JOB, SageMakerOptions(), searched.replace(trials=8, parallel=2), 10)
    check("CreateHyperParameterTuningJob", request)
    config = request["HyperParameterTuningJobConfig"]
    assert config["Strategy"] == "Bayesian"
    assert config["TrainingJobEarlyStoppingType"] == "Auto"
    assert config["HyperParameterTuningJobObjective"] == {"Type": "Maximize", "MetricName": "valid_accuracy"}
    [rate] = config["ParameterRanges"]["ContinuousParameterRanges"]
    assert rate == {"Name": "lr", "MinValue": "1e-05", "MaxValue": "0.1", "ScalingType": "Logarithmic"}
    [epochs] = config["ParameterRanges"]["IntegerParameterRanges"]
    assert (epochs["MinValue"], epochs["MaxValue"]) == ("5", "40")
    assert config["ParameterRanges"]["CategoricalParameterRanges"] == [
        {"Name": "batch_size", "Values": ["32", "64"]},
        {"Name": "optimizer", "Values": ['"sgd"', '"adamw"']},
    ]


def test_every_limit_of_a_study_has_one_of_the_tuning_job() -> None:
    limits = {"time_limit": 3600.0, "target": 0.9, "stop_after": 5, "seed": 7, "pruner": "none", "searcher": "random"}
    request = tuning_request(JOB, SageMakerOptions(), plan("lr=log(1e-5,1e-1)", **limits), 10)
    check("CreateHyperParameterTuningJob", request)
    config = request["HyperParameterTuningJobConfig"]
    assert config["ResourceLimits"]["MaxRuntimeInSeconds"] == 3600
    assert config["TuningJobCompletionCriteria"]["TargetObjectiveMetricValue"] == 0.9
    assert config["TuningJobCompletionCriteria"]["BestObjectiveNotImproving"]
    assert (config["RandomSeed"], config["TrainingJobEarlyStoppingType"], config["Strategy"]) == (7, "Off", "Random")


def test_a_grid_is_categorical_and_whole() -> None:
    searched = plan("lr=[0.1,0.01]", "momentum=float(0.5,0.9)", searcher="grid", trials=10)
    request = tuning_request(JOB, SageMakerOptions(), searched, 10)
    check("CreateHyperParameterTuningJob", request)
    assert list(request["HyperParameterTuningJobConfig"]["ParameterRanges"]) == ["CategoricalParameterRanges"]
    with pytest.raises(BadValue, match="all of its 10 combinations"):
        tuning_request(JOB, SageMakerOptions(), searched.replace(trials=3), 10)


def test_hyperband_is_given_epochs() -> None:
    request = tuning_request(JOB, SageMakerOptions(), plan("lr=log(1e-5,1e-1)", searcher="hyperband"), 27)
    check("CreateHyperParameterTuningJob", request)
    config = request["HyperParameterTuningJobConfig"]
    assert config["StrategyConfig"]["HyperbandStrategyConfig"] == {"MinResource": 1, "MaxResource": 27}


@pytest.mark.parametrize(
    ("space", "settings", "sentence"),
    [
        (["optimizer=[sgd,adamw]", "momentum=float(0.5,0.9) when optimizer=sgd"], {}, "has no conditions"),
        (["lr=log(1e-5,1e-1)"], {"searcher": "cmaes"}, "sagemaker has no such search"),
        (["lr=log(1e-5,1e-1)"], {"pruner": "asha"}, "sagemaker has no such pruner"),
    ],
)
def test_what_sagemaker_cannot_search_is_said(space: list[str], settings: dict[str, str], sentence: str) -> None:
    with pytest.raises((BadValue, BadChoice), match=sentence):
        tuning_request(JOB, SageMakerOptions(), plan(*space, **settings), 10)


def test_an_endpoint() -> None:
    options = SageMakerOptions.of({"instance_type": "ml.g5.xlarge", "instance_count": "2"})
    image = options.image_uri("inference", "eu-central-2")
    assert image == "380420809688.dkr.ecr.eu-central-2.amazonaws.com/pytorch-inference:2.6.0-gpu-py312"
    check("CreateModel", model_request("dogs", role=JOB.role, image=image, data="s3://d/m.tar.gz", region="us-east-1"))
    request = endpoint_config_request("dogs", options)
    check("CreateEndpointConfig", request)
    assert request["ProductionVariants"][0]["InitialInstanceCount"] == 2


finite = st.floats(-1e6, 1e6, allow_nan=False)
plain_values = st.one_of(st.none(), st.booleans(), st.integers(), finite, st.text(max_size=20))
domains = st.one_of(
    st.builds(lambda low, width: FloatRange(low=low, high=low + width), finite, st.floats(0.001, 1e6)),
    st.builds(lambda low, width: IntRange(low=low, high=low + width), st.integers(-1000, 1000), st.integers(1, 1000)),
    st.lists(
        st.one_of(st.none(), st.booleans(), st.integers(), finite, st.text(max_size=20)), min_size=1, max_size=9
    ).map(lambda values: Choice(values=tuple(values))),
)


@given(domains)
def test_values_come_back_as_they_were(domain: FloatRange | IntRange | Choice) -> None:
    [(kind, [found])] = parameter_ranges(Space((Dimension(name="lr", domain=domain),))).items()
    if isinstance(domain, Choice):
        assert kind == "CategoricalParameterRanges"
        assert [json.loads(value) for value in found["Values"]] == list(domain.values)
    else:
        number = int if isinstance(domain, IntRange) else float
        assert (number(found["MinValue"]), number(found["MaxValue"])) == (domain.low, domain.high)
