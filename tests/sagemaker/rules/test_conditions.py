"""Conditions of the built-in rules: when each of SageMaker's rules is met, on tensors that smdebug has written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadChoice, BadValue
from clearsight_sagemaker.rules.conditions import CONDITIONS
from smdebug.rules.action import parse_actions
from tests.sagemaker.rules.recorded import LOSS, losses, met, read, record

GENERATOR = np.random.default_rng(0)
SMALL, LARGE = np.full((4, 3), 1e-9), np.full((4, 3), 0.1)
RELU, SIGMOID = "layer1.0.relu_output_0", "gate.sigmoid_input_0"
WEIGHT = "ResNet_fc.weight"
HALF_DEAD = np.stack([np.zeros((5, 5)), np.zeros((5, 5)), np.zeros((5, 5)), np.ones((5, 5))])[None]


def train(name: str, *values: Any) -> list[tuple[str, dict[str, Any]]]:
    return [("TRAIN", {name: value}) for value in values]


@pytest.mark.parametrize(
    ("rule", "parameters", "steps", "expected", "words"),
    [
        ("LossNotDecreasing", {}, losses([2.0 - 0.01 * n for n in range(30)]), -1, ""),
        ("LossNotDecreasing", {}, losses([2.0] * 30), 10, "fell by 0 %"),
        ("LossNotDecreasing", {}, losses([2.0 + 0.001 * n for n in range(30)]), -1, ""),
        ("LossNotDecreasing", {}, losses([2.0 + 0.1 * n for n in range(30)]), 10, "rose by 50 %"),
        (
            "LossNotDecreasing",
            {"num_steps": "3", "diff_percent": "90"},
            losses([2.0, 1.9, 1.8, 1.0]),
            3,
            "fell by 50 %",
        ),
        ("LossNotDecreasing", {"mode": "EVAL"}, losses([2.0] * 30), -1, ""),
        ("LossNotDecreasing", {"num_steps": "1"}, [*losses([2, 1]), *losses([1, 1], "EVAL")], 3, "EVAL step 0"),
        ("VanishingGradient", {}, train("gradient/ResNet_fc.weight", LARGE, SMALL), 1, "below threshold=1e-07"),
        ("VanishingGradient", {"threshold": "1e-10"}, train("gradient/ResNet_fc.weight", LARGE, SMALL), -1, ""),
        ("ExplodingTensor", {}, train("x", [1.0, 2.0], [1.0, np.inf]), 1, "1 of 2 elements of x are infinite"),
        ("ExplodingTensor", {"only_nan": "True"}, train("x", [np.inf], [np.nan]), 1, "NaN"),
        ("ExplodingTensor", {"tensor_regex": "^y"}, train("x", [np.nan]), -1, ""),
        ("Overfit", {}, [*losses([1.0, 1.0]), *losses([1.05], "EVAL")], -1, ""),
        ("Overfit", {}, [*losses([1.0, 1.0]), *losses([1.5, 1.3], "EVAL"), *losses([1.0])], 4, "a ratio of 0.4"),
        ("Overfit", {"patience": "2"}, [*losses([1.0]), *losses([1.5], "EVAL"), *losses([1.0])], -1, ""),
        ("Overfit", {"start_step": "5"}, [*losses([1.0]), *losses([1.5], "EVAL"), *losses([1.0])], -1, ""),
        ("Overtraining", {}, losses([1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]), 6, "patience_train=5"),
        ("Overtraining", {}, losses([1.0 - 0.1 * n for n in range(9)]), -1, ""),
        ("Overtraining", {"patience_validation": "2"}, losses([1.0, 1.0, 1.0], "EVAL"), 2, "patience_validation=2"),
        ("WeightUpdateRatio", {}, train(WEIGHT, LARGE, LARGE), 1, "is 0, below small_threshold"),
        ("WeightUpdateRatio", {}, train(WEIGHT, LARGE, 20 * LARGE), 1, "is 19, above large_threshold=10"),
        ("WeightUpdateRatio", {}, [("TRAIN", {WEIGHT: LARGE}), ("EVAL", {WEIGHT: LARGE})], -1, ""),
        ("PoorWeightInitialization", {}, [("TRAIN", {WEIGHT: [0, 1], "x.weight": [0, 9]})], 0, "81 times that of"),
        ("PoorWeightInitialization", {"patience": "2"}, losses([1.0, 1.0, 1.0]), 2, "has not fallen below 1"),
        ("PoorWeightInitialization", {}, train("gradient/x.bias", [1.0, 1.0001]), 0, "distribution_range=0.001"),
        ("DeadRelu", {}, train(RELU, HALF_DEAD), 0, "75 % of the units"),
        ("DeadRelu", {"threshold_layer": "80"}, train(RELU, HALF_DEAD), -1, ""),
        ("SaturatedActivation", {}, train(SIGMOID, np.full((2, 4), 20.0)), 0, "100 % of the units"),
        ("SaturatedActivation", {}, train("tanh_input_0", np.full((2, 4), 9.0)), -1, ""),
        ("AllZero", {"tensor_regex": "x"}, train("x", [0, 1], [0, 0]), 1, "100 % of x is 0"),
        ("UnchangedTensor", {"tensor_regex": "x"}, train("x", [1.0], [2.0], [2.0], [2.0]), 3, "num_steps=3"),
        ("TensorVariance", {"tensor_regex": "x", "max_threshold": "1"}, train("x", [0, 1], [0, 9]), 1, "above"),
        ("TensorVariance", {"tensor_regex": "x", "min_threshold": "1"}, train("x", [0, 9], [0, 1]), 1, "below"),
        (
            "ClassImbalance",
            {"samples": "20", "labels_regex": "Loss_input_1", "predictions_regex": "Loss_input_0"},
            [("TRAIN", {"Loss_input_1": [0] * 19 + [1], "Loss_input_0": np.eye(2)[[0] * 20]})],
            0,
            "class 0 has 19 times the labels of class 1",
        ),
        (
            "ClassImbalance",
            {"samples": "4", "predictions_regex": "scores"},
            [("TRAIN", {"labels": [0, 0, 1, 1], "scores": np.eye(2)[[0, 0, 0, 0]]})],
            0,
            "a share of 1 of class 1",
        ),
        (
            "Confusion",
            {"min_diag": "0"},
            [("EVAL", {"labels": [0, 1, 1], "predictions": [0, 0, 1]})],
            0,
            "0.5 of class 1",
        ),
        (
            "CheckInputImages",
            {"regex": "Net_input_0", "threshold_samples": "8"},
            train("Net_input_0", *[np.stack([np.zeros((4, 2, 2)), np.ones((4, 2, 2))], 1)] * 3),
            1,
            "the mean of channel 1 over 8 images is 1",
        ),
    ],
)
def test_when_a_rule_is_met(
    tmp_path: Path, rule: str, parameters: dict[str, str], steps: Any, expected: int, words: str
) -> None:
    step, clause = met(tmp_path / "tensors", rule, steps, **parameters)
    assert (step, bool(clause)) == (expected, bool(words))
    assert words in clause


def test_overfit_at_the_end_of_training(tmp_path: Path) -> None:
    assert met(tmp_path, "Overfit", [*losses([1.0]), *losses([3.0], "EVAL")])[1].startswith("the evaluation loss 3")


def test_similar_runs_are_found(tmp_path: Path) -> None:
    weights = [GENERATOR.normal(size=(3, 3)) for _ in range(2)]
    record(tmp_path / "first", train(WEIGHT, *weights))
    assert met(tmp_path / "same", "SimilarAcrossRuns", train(WEIGHT, *weights), other_trials="s3://first")[0] == 0
    other = train(WEIGHT, weights[0] + 0.1)
    assert met(tmp_path / "other", "SimilarAcrossRuns", other, other_trials="s3://first") == (-1, "")


def test_a_stalled_training() -> None:
    condition = CONDITIONS["StalledTrainingRule"].parse("StalledTrainingRule", {"threshold": "60"})
    assert condition.when_idle(59) == ""
    assert "no tensor was saved for 61 s" in condition.when_idle(61)


def test_steps_that_come_later_are_read(tmp_path: Path) -> None:
    record(tmp_path, losses([1.0, 2.0]))
    saved = read(tmp_path)
    assert saved.refresh() == [0, 1]
    assert saved.refresh() == []
    record(tmp_path, losses([3.0]), first=2)
    assert saved.refresh() == [2]
    assert saved.value(LOSS, 2) == 3.0


@pytest.mark.parametrize(
    ("rule", "parameters", "words"),
    [
        ("Overfit", {"patients": "3"}, "Did you mean patience?"),
        ("Overfit", {"patience": "three"}, "Overfit(patience=three): must be a whole number"),
        ("Overfit", {"patience": "0"}, "Overfit(patience=0)"),
        ("LossNotDecreasing", {"mode": "VALID"}, "'TRAIN', 'EVAL'"),
        ("AllZero", {}, "needs collection_names or tensor_regex"),
        ("SimilarAcrossRuns", {}, "other_trials"),
    ],
)
def test_wrong_parameters_are_named(rule: str, parameters: dict[str, str], words: str) -> None:
    with pytest.raises((BadChoice, BadValue)) as caught:
        CONDITIONS[rule].parse(rule, parameters)
    assert words in str(caught.value)


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=40))
def test_a_loss_that_halves_is_never_found(tmp_path_factory: pytest.TempPathFactory, noise: list[float]) -> None:
    """Whatever the size of a loss: where each value is at most half of the one before, the rule is not met."""
    values = [noise[0]]
    for factor in noise[1:]:
        values.append(values[-1] / (2 + factor))
    found = met(tmp_path_factory.mktemp("halving"), "LossNotDecreasing", losses(values), num_steps="1")
    assert found == (-1, "")


def test_actions_as_the_sdk_writes_them() -> None:
    text = '[{\\"name\\": \\"stoptraining\\", \\"training_job_prefix\\": \\"dogs\\"}, {\\"name\\": \\"email\\"'
    assert parse_actions(text + ', \\"endpoint\\": \\"a@b.co\\"}]') == [
        {"name": "stoptraining", "training_job_prefix": "dogs"},
        {"name": "email", "endpoint": "a@b.co"},
    ]
    with pytest.raises(ValueError, match="action email needs 'endpoint'"):
        parse_actions(text + "}]")
    with pytest.raises(ValueError, match="action 'lambda' is not one of stoptraining, email, sms"):
        parse_actions('{"name": "lambda"}')
