"""Catalogue of runs: healthy ones, for each network and dataset a recipe that learns, and the planted faults.

There are two parts that share no network, and CIFAR-10 is in one of them alone: thresholds are set on `DEVELOPMENT` and
reported on `HELD_OUT`. Each fault names the rules that should name its cause. Faults of the profiler (a slow loader, an
idle device) are left out: they do not spoil what is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from clearsight.core.learning_rates import HIGHEST_RATE
from clearsight.core.recipe import Recipe
from clearsight.testing.faults.setup import Fault, FaultSetup

Pair = tuple[str, str]  # network, data

DEVELOPMENT: tuple[Pair, ...] = (
    ("small_cnn", "digits"),
    ("small_cnn", "intel-scenes"),
    ("plain_cnn", "digits"),
    ("mobilenetv2", "digits"),
    ("mobilenetv2", "intel-scenes"),
)
HELD_OUT: tuple[Pair, ...] = (
    ("resnet18", "cifar-10"),
    ("resnet18", "intel-scenes"),
    ("vit_tiny", "intel-scenes"),
    ("vit_tiny", "digits"),
)
PARTS: Mapping[str, Sequence[Pair]] = {"development": DEVELOPMENT, "held-out": HELD_OUT, "smoke": DEVELOPMENT[:1]}

HALF = (0.5, 0.5, 0.5)  # mean and standard deviation that the weights of mobilenetv2 expect
# side, training images, recipe. Chosen so that the run learns and does not overfit by the gap between training and
# validation accuracy: a run that overfits is not a healthy one. docs/diagnosis.md lists the changes.
_BASES: Mapping[Pair, tuple[int, int, Mapping[str, Any]]] = {
    ("small_cnn", "digits"): (32, 320, {"lr": 5e-3, "epochs": 8}),
    ("small_cnn", "intel-scenes"): (32, 480, {"lr": 5e-3, "epochs": 6}),
    ("plain_cnn", "digits"): (32, 320, {"lr": 2e-3, "epochs": 8}),
    ("mobilenetv2", "digits"): (48, 256, {"lr": 1e-3, "epochs": 4, "mean": HALF, "std": HALF}),
    ("mobilenetv2", "intel-scenes"): (
        *(64, 480),
        {"lr": 1e-3, "epochs": 3, "augment": "light", "mean": HALF, "std": HALF},
    ),
    ("resnet18", "cifar-10"): (32, 640, {"lr": 1e-3, "epochs": 3, "augment": "light"}),
    ("resnet18", "intel-scenes"): (32, 480, {"lr": 1e-3, "epochs": 4, "augment": "light"}),
    ("vit_tiny", "digits"): (32, 320, {"lr": 5e-4, "epochs": 8}),
    ("vit_tiny", "intel-scenes"): (32, 480, {"lr": 5e-4, "epochs": 5, "augment": "light"}),
}


def base(pair: Pair, seed: int) -> FaultSetup:
    """Return the setup in which faults are planted."""
    side, size, settings = _BASES[pair]
    recipe = Recipe.parse({"batch_size": 32, "seed": seed, **settings})
    return FaultSetup(network=pair[0], data=pair[1], seed=seed, recipe=recipe, side=side, train_size=size)


def controls(pair: Pair, seed: int) -> dict[str, FaultSetup]:
    """Return the healthy runs of a pair with a seed, by the name of the variation."""
    healthy = base(pair, seed)
    lr, epochs = healthy.recipe.optim.resolved_lr, healthy.recipe.train.resolved_epochs
    variations: dict[str, dict[str, Any]] = {
        "base": {},
        "sgd": {"optimizer": "sgd", "weight_decay": 1e-3, "lr": 10 * lr},
        "light": {"augment": "light"},
        "batch-16": {"batch_size": 16},
        "batch-64": {"batch_size": 64, "epochs": epochs + max(1, epochs // 3)},
        "constant": {"schedule": "constant"},
        "step": {"schedule": "step", "step_size": max(1, epochs // 2)},
        "smoothing": {"label_smoothing": 0.1},
        "adam-low": {"optimizer": "adam", "weight_decay": 0.0, "lr": lr / 2},
        "clip": {"clip_grad": 1.0, "warmup": 0.2},
        **({"frozen": {"freeze": "backbone"}} if pair[0] == "mobilenetv2" else {}),
    }
    setups = {name: healthy.changed(**changes) for name, changes in variations.items()}
    return {name: setup for name, setup in setups.items() if name == "base" or setup != healthy}


# Planted faults

# Not the small networks: they have many pixels per channel up to the last layer, so batches of 2 do no harm there.
_BATCH_NORM = ("mobilenetv2", "resnet18")
_RELU = ("small_cnn", "plain_cnn", "mobilenetv2", "resnet18")


def _fault(
    name: str, description: str, *expected: str, apply: Callable[[FaultSetup], FaultSetup] | None = None, **more: Any
) -> Fault:
    """Return a fault in the settings of a run, or without `apply` in the code of the loop, the network or the data."""
    apply = apply or (lambda setup: replace(setup, plant=name))
    return Fault(name=name, description=description, expected=expected, apply=apply, **more)


def _lr(factor: float) -> Callable[[FaultSetup], FaultSetup]:
    return lambda setup: setup.changed(lr=min(HIGHEST_RATE, setup.recipe.optim.resolved_lr * factor))


def _raw_pixels(setup: FaultSetup) -> FaultSetup:
    """Leave pixels in 0 to 255. Pretrained features stay frozen, since learning them anew hides the fault."""
    freeze = "backbone" if setup.network == "mobilenetv2" else "none"
    return setup.changed(mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255), freeze=freeze)


def _few_images(per_class: int, *, epochs: int, batches: int) -> Callable[[FaultSetup], FaultSetup]:
    def apply(setup: FaultSetup) -> FaultSetup:
        size = per_class * (6 if setup.data == "intel-scenes" else 10)
        constant = setup.changed(epochs=epochs, batch_size=size // batches, schedule="constant", augment="none")
        return replace(constant, train_size=size)

    return apply


FAULTS: tuple[Fault, ...] = (
    _fault(
        "lr_x100", "the learning rate is 100 times too high", "LearningRateTooHigh", apply=_lr(100), repairable=True
    ),
    _fault(
        "lr_over_1000",
        "the learning rate is 1000 times too low",
        "LearningRateTooLow",
        apply=_lr(1e-3),
        repairable=True,
    ),
    _fault("zero_init", "all weights of convolutions and linear layers start at 0", "PoorWeightInitialization"),
    _fault(
        "huge_init", "weights of convolutions and linear layers start 30 times too large", "PoorWeightInitialization"
    ),
    _fault("dead_relu_bias", "biases before the ReLUs start at -10", "DeadRelu", networks=_RELU),
    _fault(
        "sigmoid_deep",
        "a deep network of sigmoids without normalisation",
        *("SaturatedActivation", "VanishingGradient"),
        apply=lambda setup: replace(setup, network="sigmoid_mlp" if setup.network == "resnet18" else "sigmoid_cnn"),
        networks=("small_cnn", "resnet18"),
    ),
    _fault("labels_shuffled_40", "two of five training labels are another class", "LabelNoise"),
    _fault("ordered_batches", "batches are in the order of the classes", "ShuffledWrong"),
    _fault("everything_frozen", "the optimizer holds the parameters of another model", "FrozenByMistake"),
    _fault(
        "head_frozen",
        "the new head is frozen, only norms are trained",
        "FrozenByMistake",
        networks=("small_cnn", "mobilenetv2", "resnet18", "vit_tiny"),
    ),
    _fault(
        "wrong_normalisation",
        "pixels are not normalised, 0 to 255",
        *("NormalisationMismatch", "CheckInputImages"),
        apply=_raw_pixels,
        networks=("mobilenetv2", "vit_tiny"),
        repairable=True,
    ),
    _fault("leaked_validation", "the validation images are training images", "DataLeak", measure="honesty"),
    _fault(
        "tiny_set_overfit",
        "three images per class, twenty epochs",
        "Overfit",
        apply=_few_images(3, epochs=20, batches=2),
    ),
    _fault(
        "overtraining",
        "twelve images per class, twenty-five epochs",
        *("Overtraining", "Overfit"),
        apply=_few_images(12, epochs=25, batches=4),
        repairable=True,
        measure="loss",
    ),
    _fault(
        "exploding_after_k",
        "in the second half the learning rate is 1000 times too high",
        *("ExplodingTensor", "LearningRateTooHigh"),
    ),
    _fault("nan_from_log0", "the loss computes the logarithm of 0 where the network is sure", "EarlyNaN"),
    _fault(
        "class_imbalance_30", "half of the classes have a thirtieth of the images", "ClassImbalance", repairable=True
    ),
    _fault(
        "batchnorm_batch_2",
        "batches of 2 with batch normalisation",
        "BatchNormDrift",
        apply=lambda setup: setup.changed(batch_size=2),
        networks=_BATCH_NORM,
        repairable=True,
    ),
    _fault(
        "loss_on_softmax",
        "the model ends in a softmax, and the loss applies another",
        *("LossOnProbabilities", "LossInputMismatch"),
    ),
    _fault("missing_zero_grad", "gradients are never cleared", "GradientsNotCleared"),
    _fault(
        "schedule_too_short",
        "the rate drops tenfold each epoch, as in a longer run",
        "ScheduleMismatch",
        apply=lambda setup: setup.changed(schedule="step", step_size=1, gamma=0.1, warmup=0.0),
        repairable=True,
    ),
)


def fault(name: str) -> Fault:
    """Return a fault by name; raises KeyError."""
    return {fault.name: fault for fault in FAULTS}[name]
