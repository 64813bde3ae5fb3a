"""NotLearning: a run that learns nothing, or far less than its own features allow, never ends in silence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.core.tensors import Moment, RawTensor
from clearsight.debugger.rule_parser import select_rules
from clearsight.debugger.rules.not_learning import NotLearning
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import prediction_record
from tests.debugger.rules.runs import facts, only
from tests.debugger.two_lines import Loop, Split, mlp, small_cnn, warnings_of

STEPS, BATCH, CLASSES = 90, 16, 10


def rule() -> NotLearning:
    return NotLearning()


def features(step: int, signal: float, *, mode: Any = "train", images: int = 240, seed: int = 0) -> RawTensor:
    """Return saved features that hold the classes as far as `signal` says."""
    draw = np.random.default_rng([seed, step])
    labels = draw.integers(0, CLASSES, images)
    values = signal * np.eye(CLASSES)[labels] + 0.3 * draw.standard_normal((images, CLASSES))
    return RawTensor(
        Moment(mode, step, 1, step), "features", "outputs", np.c_[values, labels, labels].astype("float32")
    )


def as_thumbnails(saved: RawTensor) -> RawTensor:
    """Return features as images of 12 x 12 pixels, a feature to every square of 2 x 2 as long as there are some."""
    values = np.zeros((len(saved.value), 36), np.float32)
    values[:, :CLASSES] = saved.value[:, :CLASSES]
    pixels = values.reshape(-1, 6, 6).repeat(2, axis=1).repeat(2, axis=2).reshape(len(values), -1)
    return replace(saved, name="thumbnails", value=np.c_[pixels, saved.value[:, -2:]])


def run(
    accuracy: Any, *, train: float | None = 1.0, valid: float | None = None, known: RunContext | None = None
) -> Tape:
    """Return a run with an accuracy at each step, (S,) or one for all. train, valid: signal of the features."""
    draw = np.random.default_rng(0)
    accuracies = np.broadcast_to(accuracy, (STEPS,)) if np.isscalar(accuracy) else np.asarray(accuracy)
    saved = Tape(known or facts(steps=len(accuracies)), ended=True)
    for place, share in enumerate(accuracies):
        step, labels = place + 1, draw.integers(0, CLASSES, BATCH)
        right = draw.random(BATCH) < share
        predicted = np.where(right, labels, (labels + draw.integers(1, CLASSES, BATCH)) % CLASSES)
        # The probability of a network as sure as it is right.
        saved.add(prediction_record(labels, predicted, true_probability=np.full(BATCH, max(share, 0.1)), step=step))
        if step in (16, 40, len(accuracies)) and train is not None:
            saved.add(features(step, train))
        if step in (40, len(accuracies)) and valid is not None:
            saved.add(features(step, valid, mode="eval", seed=1))
    return saved


def fault() -> Tape:
    return run(0.1)


def control() -> Tape:
    return run(np.linspace(0.1, 0.85, STEPS))


def test_good_features_and_a_network_at_chance_point_to_head_loss_or_optimisation() -> None:
    found = only(rule(), fault())
    assert found.severity is Severity.SEVERE
    assert found.subject == "features"
    assert "linear model" in found.cause


def test_features_that_tell_nothing_point_to_images_and_labels() -> None:
    found = only(rule(), run(0.1, train=0.0))
    assert (found.subject, found.severity) == ("images and labels", Severity.WARNING)


def test_training_labels_are_named_where_validation_can_be_learned() -> None:
    found = only(rule(), run(0.1, train=0.0, valid=1.0))
    assert (found.subject, found.severity) == ("training labels", Severity.SEVERE)


def test_without_features_the_network_is_still_compared_with_a_guess() -> None:
    assert only(rule(), run(0.1, train=None)).found


def test_far_below_the_reference_is_a_warning() -> None:
    found = only(rule(), run(0.3))
    assert found.severity is Severity.WARNING


@pytest.mark.parametrize("accuracy", [0.8, np.linspace(0.1, 0.5, STEPS)], ids=["good", "improving"])
def test_clear_when_it_learns(accuracy: Any) -> None:
    assert only(rule(), run(accuracy)).verdict is Verdict.CLEAR


@pytest.mark.parametrize(("accuracy", "is_found"), [(0.35, True), (0.9, False)])
def test_a_network_that_ends_below_a_linear_model_on_pixels_is_found(accuracy: float, is_found: bool) -> None:
    saved = run(accuracy, train=None)
    saved.add(as_thumbnails(features(8, 1.0)))
    assert (only(rule(), saved).verdict is Verdict.FOUND) is is_found


def test_hard_images_on_which_features_do_no_better_are_clear() -> None:
    assert only(rule(), run(0.22, train=0.18)).verdict is Verdict.CLEAR


def test_a_network_better_than_its_features_on_images_seen_again_has_memorised_them() -> None:
    assert only(rule(), run(np.linspace(0.1, 0.4, STEPS), train=0.0)).found


def test_after_few_images_nothing_more_than_an_information_is_given() -> None:
    assert only(rule(), run(np.full(20, 0.1), train=0.0)).severity is Severity.INFO


def test_labels_of_nearly_one_class_cannot_be_judged() -> None:
    saved = Tape(facts(steps=STEPS), ended=True)
    for step in range(1, STEPS + 1):
        saved.add(prediction_record([0] * 15 + [1], [0] * 16, step=step))
    finding = only(rule(), saved)
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert "one class" in finding.cause


def test_a_running_training_is_judged_after_a_third_of_its_plan() -> None:
    assert only(rule(), fault().until(20)).verdict is Verdict.NOT_ENOUGH_DATA
    assert only(rule(), fault().until(40)).found


def test_says_what_other_rules_exclude_and_what_remains() -> None:
    verdicts = {
        "FrozenByMistake": Verdict.CLEAR,
        "UnchangedTensor": Verdict.CLEAR,
        "LossOnProbabilities": Verdict.FOUND,
        "LearningRateTooLow": Verdict.NOT_ENOUGH_DATA,
    }
    advice = rule().with_verdicts(only(rule(), fault()), verdicts).advice
    excluded, remaining = advice.split("Remaining, in this order: ")
    assert "parameters that are not trained" in excluded
    assert remaining.startswith("a loss on probabilities, a learning rate that is too low")


def test_the_former_name_selects_it() -> None:
    assert [type(one) for one in select_rules("none", ["HeadNotLearning"])] == [NotLearning]


# Loops as people write them, with the README's two lines


class Ascent(nn.CrossEntropyLoss):
    """A loss of the wrong sign."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return -super().forward(input, target)


def shuffled(split: Split) -> Split:
    return split[0], split[1][torch.randperm(len(split[1]), generator=torch.Generator().manual_seed(3))]


def misplaced(split: Split) -> Split:
    return split[0], split[1].roll(1)  # each label belongs to the image before


def noise(split: Split) -> Split:
    return torch.randn(split[0].shape, generator=torch.Generator().manual_seed(4)), split[1]


def of_another_network(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(small_cnn().parameters(), lr=2e-3)


def tiny_rate(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=2e-7)


def huge_decay(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=100.0)


def slow_sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=1e-6)


def not_learning(loop: Loop, out: Path) -> Finding:
    return next(finding for finding in loop.run(out).findings if finding.rule == "NotLearning")


@pytest.mark.parametrize("network", [small_cnn, mlp])
@pytest.mark.parametrize(
    ("faults", "subject"),
    [
        ({"train": shuffled}, "training labels"),
        ({"train": misplaced}, "training labels"),
        ({"train": shuffled, "evaluate": False, "steps": 37, "per_epoch": 37}, "images and labels"),
        ({"train": noise, "evaluate": False, "steps": 37, "per_epoch": 37}, "images and labels"),
        ({"loss": Ascent()}, "features"),
        ({"optimizer": of_another_network}, "features"),
        ({"optimizer": tiny_rate}, "features"),
        ({"optimizer": slow_sgd}, "features"),
        ({"optimizer": huge_decay}, "features"),
        ({"optimizer": huge_decay, "steps": 30, "per_epoch": 10}, "features"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_no_silent_fault_ends_in_silence(
    faults: dict[str, Any], subject: str, network: Callable[[], nn.Module], tmp_path: Path
) -> None:
    finding = not_learning(Loop(network=network, **faults), tmp_path / "run")
    assert finding.found
    assert finding.severity is not Severity.INFO
    assert finding.subject == subject
    assert "Remaining, in this order:" in finding.advice


def test_a_loss_of_the_wrong_sign_is_no_rate_that_is_too_high(tmp_path: Path) -> None:
    [(name, _)] = warnings_of(Loop(loss=Ascent()).run(tmp_path / "run"))
    assert name == "LossInputMismatch"


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)


def tenth_of_the_labels_wrong(split: Split) -> Split:
    labels = split[1].clone()
    labels[::10] = (labels[::10] + 3) % 10
    return split[0], labels


def blurred_by_noise(split: Split) -> Split:
    return split[0] + 1.5 * torch.randn(split[0].shape, generator=torch.Generator().manual_seed(5)), split[1]


@pytest.mark.parametrize("network", [small_cnn, mlp])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"steps": 30, "per_epoch": 10},
        {"steps": 30, "per_epoch": 10, "evaluate": False},
        {"optimizer": sgd},
        {"optimizer": sgd, "steps": 30, "batch": 16},
        {"loss": nn.CrossEntropyLoss(label_smoothing=0.1)},
        {"train": tenth_of_the_labels_wrong},
        {"train": blurred_by_noise, "valid": blurred_by_noise, "steps": 30},
    ],
    ids=["plain", "30 steps", "no validation", "sgd", "480 images", "smoothing", "10 % noise", "hard images"],
)
def test_healthy_twins_stay_silent(settings: dict[str, Any], network: Callable[[], nn.Module], tmp_path: Path) -> None:
    assert warnings_of(Loop(network=network, **settings).run(tmp_path / "run")) == []
