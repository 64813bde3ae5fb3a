"""The faults by name, each with the cause that should be named.

Faults of the profiler (a slow loader, an idle device) are no part of it: they do not spoil what is learned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from clearsight.testing.faults.setup import Fault, FaultSetup

_BATCH_NORM = ("mobilenetv2", "resnet18")  # a small one has many pixels a channel to the end: no harm there
_RELU = ("small_cnn", "plain_cnn", "mobilenetv2", "resnet18")


def _planted(name: str, what: str, *expected: str, **more: Any) -> Fault:
    """A fault in the code of the loop, of the network or of the data."""
    return Fault(name=name, what=what, expected=expected, apply=lambda setup: replace(setup, plant=name), **more)


def _chosen(name: str, what: str, apply: Callable[[FaultSetup], FaultSetup], *expected: str, **more: Any) -> Fault:
    """A fault in what was asked for."""
    return Fault(name=name, what=what, expected=expected, apply=apply, **more)


def _lr(factor: float) -> Callable[[FaultSetup], FaultSetup]:
    return lambda setup: setup.changed(lr=min(10.0, setup.recipe.optim.peak * factor))


def _sigmoid(setup: FaultSetup) -> FaultSetup:
    return replace(setup, network="sigmoid_mlp" if setup.network == "resnet18" else "sigmoid_cnn")


def _raw_pixels(setup: FaultSetup) -> FaultSetup:
    """Features of pretrained weights are only looked at, as relearning them hides what they got."""
    freeze = "backbone" if setup.network == "mobilenetv2" else "none"
    return setup.changed(mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255), freeze=freeze)


def _tiny(setup: FaultSetup) -> FaultSetup:
    size = 3 * _classes(setup)
    return replace(setup, train_size=size).changed(epochs=20, batch_size=size // 2, schedule="constant", augment="none")


def _too_long(setup: FaultSetup) -> FaultSetup:
    size = 12 * _classes(setup)
    return replace(setup, train_size=size).changed(epochs=25, batch_size=size // 4, schedule="constant", augment="none")


def _classes(setup: FaultSetup) -> int:
    return 6 if setup.data == "intel-scenes" else 10


FAULTS: tuple[Fault, ...] = (
    _chosen("lr_x100", "the learning rate is 100 times too high", _lr(100), "LearningRateTooHigh", repairable=True),
    _chosen(
        "lr_over_1000", "the learning rate is 1000 times too low", _lr(1e-3), "LearningRateTooLow", repairable=True
    ),
    _planted("zero_init", "all weights of convolutions and linear layers start at 0", "PoorWeightInitialization"),
    _planted("huge_init", "those weights start 30 times too large", "PoorWeightInitialization"),
    _planted("dead_relu_bias", "biases before the ReLUs start at -10", "DeadRelu", networks=_RELU),
    _chosen(
        "sigmoid_deep",
        "a deep network of sigmoids without normalisation",
        _sigmoid,
        *("SaturatedActivation", "VanishingGradient"),
        networks=("small_cnn", "resnet18"),
    ),
    _planted("labels_shuffled_40", "two of five training labels are another class", "LabelNoise"),
    _planted("ordered_batches", "batches are in the order of the classes", "ShuffledWrong"),
    _planted("everything_frozen", "the optimizer holds the parameters of another model", "FrozenByMistake"),
    _planted(
        "head_frozen",
        "the new head was frozen, the normalisations train",
        "FrozenByMistake",
        networks=("small_cnn", "mobilenetv2", "resnet18", "vit_tiny"),
    ),
    _chosen(
        "wrong_normalisation",
        "pixels go in as 0 to 255",
        _raw_pixels,
        *("NormalisationMismatch", "CheckInputImages"),
        networks=("mobilenetv2", "vit_tiny"),
        repairable=True,
    ),
    _planted("leaked_validation", "the validation images are training images", "DataLeak", measure="honesty"),
    _chosen("tiny_set_overfit", "three images a class, twenty times over", _tiny, "Overfit"),
    _chosen(
        "overtraining",
        "twelve images a class, twenty-five times over",
        _too_long,
        *("Overtraining", "Overfit"),
        repairable=True,
        measure="loss",
    ),
    _planted(
        "exploding_after_k",
        "from the middle on the learning rate is 1000 times too high",
        *("ExplodingTensor", "LearningRateTooHigh"),
    ),
    _planted("nan_from_log0", "the loss takes the logarithm of 0 where the network is sure", "EarlyNaN"),
    _planted("class_imbalance_30", "half of the classes have a thirtieth", "ClassImbalance", repairable=True),
    _chosen(
        "batchnorm_batch_2",
        "batches of 2 with batch normalisation",
        lambda setup: setup.changed(batch_size=2),
        "BatchNormDrift",
        networks=_BATCH_NORM,
        repairable=True,
    ),
    _planted("loss_on_softmax", "the model ends in a softmax and the loss takes another", "LossOnProbabilities"),
    _planted("missing_zero_grad", "gradients are never cleared", "GradientsNotCleared"),
    _chosen(
        "schedule_too_short",
        "the rate drops tenfold each epoch, meant for another length",
        lambda setup: setup.changed(schedule="step", step_size=1, gamma=0.1, warmup=0.0),
        "ScheduleMismatch",
        repairable=True,
    ),
)


def fault(name: str) -> Fault:
    """A fault by name; raises KeyError."""
    return {fault.name: fault for fault in FAULTS}[name]
