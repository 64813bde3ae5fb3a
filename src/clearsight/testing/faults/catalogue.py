"""Catalogue of planted faults, each with the rules that should name its cause.

Faults of the profiler (a slow loader, an idle device) are left out: they do not spoil what is learned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from clearsight.core.learning_rates import HIGHEST_RATE
from clearsight.testing.faults.setup import Fault, FaultSetup

# Not the small networks: they have many pixels per channel up to the last layer, so batches of 2 do no harm there.
_BATCH_NORM = ("mobilenetv2", "resnet18")
_RELU = ("small_cnn", "plain_cnn", "mobilenetv2", "resnet18")


def _planted(name: str, description: str, *expected: str, **more: Any) -> Fault:
    """Return a fault in the code of the loop, of the network or of the data."""
    return Fault(
        name=name, description=description, expected=expected, apply=lambda setup: replace(setup, plant=name), **more
    )


def _setting_fault(
    name: str, description: str, apply: Callable[[FaultSetup], FaultSetup], *expected: str, **more: Any
) -> Fault:
    """Return a fault in the settings of a run."""
    return Fault(name=name, description=description, expected=expected, apply=apply, **more)


def _lr(factor: float) -> Callable[[FaultSetup], FaultSetup]:
    return lambda setup: setup.changed(lr=min(HIGHEST_RATE, setup.recipe.optim.resolved_lr * factor))


def _sigmoid(setup: FaultSetup) -> FaultSetup:
    return replace(setup, network="sigmoid_mlp" if setup.network == "resnet18" else "sigmoid_cnn")


def _raw_pixels(setup: FaultSetup) -> FaultSetup:
    """Leave pixels in 0 to 255. Pretrained features stay frozen, since learning them anew hides the fault."""
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
    _setting_fault(
        "lr_x100", "the learning rate is 100 times too high", _lr(100), "LearningRateTooHigh", repairable=True
    ),
    _setting_fault(
        "lr_over_1000", "the learning rate is 1000 times too low", _lr(1e-3), "LearningRateTooLow", repairable=True
    ),
    _planted("zero_init", "all weights of convolutions and linear layers start at 0", "PoorWeightInitialization"),
    _planted(
        "huge_init", "weights of convolutions and linear layers start 30 times too large", "PoorWeightInitialization"
    ),
    _planted("dead_relu_bias", "biases before the ReLUs start at -10", "DeadRelu", networks=_RELU),
    _setting_fault(
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
        "the new head is frozen, only norms are trained",
        "FrozenByMistake",
        networks=("small_cnn", "mobilenetv2", "resnet18", "vit_tiny"),
    ),
    _setting_fault(
        "wrong_normalisation",
        "pixels are not normalised, 0 to 255",
        _raw_pixels,
        *("NormalisationMismatch", "CheckInputImages"),
        networks=("mobilenetv2", "vit_tiny"),
        repairable=True,
    ),
    _planted("leaked_validation", "the validation images are training images", "DataLeak", measure="honesty"),
    _setting_fault("tiny_set_overfit", "three images per class, twenty epochs", _tiny, "Overfit"),
    _setting_fault(
        "overtraining",
        "twelve images per class, twenty-five epochs",
        _too_long,
        *("Overtraining", "Overfit"),
        repairable=True,
        measure="loss",
    ),
    _planted(
        "exploding_after_k",
        "in the second half the learning rate is 1000 times too high",
        *("ExplodingTensor", "LearningRateTooHigh"),
    ),
    _planted("nan_from_log0", "the loss computes the logarithm of 0 where the network is sure", "EarlyNaN"),
    _planted(
        "class_imbalance_30", "half of the classes have a thirtieth of the images", "ClassImbalance", repairable=True
    ),
    _setting_fault(
        "batchnorm_batch_2",
        "batches of 2 with batch normalisation",
        lambda setup: setup.changed(batch_size=2),
        "BatchNormDrift",
        networks=_BATCH_NORM,
        repairable=True,
    ),
    _planted("loss_on_softmax", "the model ends in a softmax, and the loss applies another", "LossOnProbabilities"),
    _planted("missing_zero_grad", "gradients are never cleared", "GradientsNotCleared"),
    _setting_fault(
        "schedule_too_short",
        "the rate drops tenfold each epoch, as in a longer run",
        lambda setup: setup.changed(schedule="step", step_size=1, gamma=0.1, warmup=0.0),
        "ScheduleMismatch",
        repairable=True,
    ),
)


def fault(name: str) -> Fault:
    """Return a fault by name; raises KeyError."""
    return {fault.name: fault for fault in FAULTS}[name]
