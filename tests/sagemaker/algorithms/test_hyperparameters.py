"""Hyperparameters of image-classification as a recipe of clearsight."""

from __future__ import annotations

import pytest

from clearsight.core.errors import ClearsightError
from clearsight_sagemaker.algorithms.image_classification.hyperparameters import AlgorithmHyperparameters

REQUIRED = {"num_classes": "6", "num_training_samples": "600"}


def hyperparameters(**texts: str) -> AlgorithmHyperparameters:
    return AlgorithmHyperparameters.of({**REQUIRED, **texts})


def test_defaults_are_those_of_sagemaker() -> None:
    recipe = hyperparameters().recipe()
    assert (recipe.model.model, recipe.model.weights, recipe.model.freeze) == ("resnet152", "none", "none")
    assert (recipe.optim.optimizer, recipe.optim.lr, recipe.optim.weight_decay) == ("sgd", 0.1, 0.0001)
    assert (recipe.optim.resolved_schedule, recipe.optim.warmup) == ("constant", 0.0)
    assert (recipe.train.epochs, recipe.train.batch_size, recipe.train.patience) == (30, 32, None)
    assert (recipe.data.image_size, recipe.data.resolved_augment) == (224, "none")
    assert list(hyperparameters().remarks()) == []


def test_texts_of_a_request_become_settings() -> None:
    found = hyperparameters(
        num_layers="18", use_pretrained_model="1", learning_rate='"0.01"', lr_scheduler_step="10,20,30",
        lr_scheduler_factor="0.5", early_stopping="True", early_stopping_patience="3", augmentation_type="crop_color",
        image_shape="3,64,64", mini_batch_size="16", _tuning_objective_metric="validation:accuracy",
    )  # fmt: skip
    recipe = found.recipe()
    assert (recipe.model.model, recipe.model.weights, recipe.train.patience) == ("resnet18", "default", 3)
    assert (recipe.optim.lr, recipe.optim.schedule, recipe.optim.step_size) == (0.01, "step", 10)
    assert (recipe.optim.gamma, recipe.data.augment, recipe.data.image_size) == (0.5, "standard", 64)
    assert list(found.remarks()) == []


@pytest.mark.parametrize(
    ("name", "text", "remark"),
    [
        ("num_layers", "20", "there is no such network here; resnet18 is trained"),
        ("num_layers", "200", "resnet152 is trained"),
        ("image_shape", "1,28,32", "images are made 28 x 28 pixels with 3 channels"),
        ("optimizer", "rmsprop", "adam is used"),
        ("lr_scheduler_step", "10,15", "drops every 10 epochs"),
        ("top_k", "5", "top_k=5 has no effect here"),
        ("kv_store", "dist_async", "this machine is one instance"),
    ],
)
def test_what_is_done_otherwise_is_said(name: str, text: str, remark: str) -> None:
    found = hyperparameters(**{name: text})
    found.recipe()
    [sentence] = found.remarks()
    assert sentence.startswith(f"{name}=")
    assert remark in sentence


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ({"num_classes": "6"}, "'num_training_samples' is a required property"),
        ({**REQUIRED, "epoch": "3"}, r"Additional properties are not allowed \('epoch' was unexpected\)"),
        ({**REQUIRED, "epochs": "many"}, "epochs many: must be a whole number, at least 1"),
        ({**REQUIRED, "learning_rate": "1.5"}, "learning_rate 1.5: must be a number"),
        ({**REQUIRED, "optimizer": "lion"}, "optimizer lion: not one of the choices"),
        ({**REQUIRED, "multi_label": "1"}, "images with several classes are not trained here"),
        ({**REQUIRED, "image_shape": "224"}, "must be channels, height, width"),
        ({**REQUIRED, "lr_scheduler_step": "ten"}, "must be epochs, such as 10,20"),
    ],
)
def test_what_cannot_be_trained_is_said(texts: dict[str, str], problem: str) -> None:
    with pytest.raises(ClearsightError, match=problem):
        AlgorithmHyperparameters.of(texts).recipe()
