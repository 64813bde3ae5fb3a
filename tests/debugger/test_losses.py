"""What a loss gets and what becomes of it: mistakes by their names, and silence about healthy twins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD

from clearsight.core.finding import Severity
from tests.debugger.loop_mistakes import (
    Distilled,
    OwnBinaryLoss,
    OwnFocalLoss,
    binary,
    divided_again,
    maximised,
    smoothed,
    weighted,
    with_margin,
    with_two_classes,
)
from tests.debugger.loop_styles import CLASSES, network, roots, run, warnings


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"loss": nn.NLLLoss()}, "gets logits, where it expects log-probabilities"),
        ({"model": network(CLASSES, nn.LogSoftmax(0)), "loss": nn.NLLLoss()}, "is taken over the images of the batch"),
        ({"model": network(CLASSES, nn.Softmax(1))}, "applies the softmax again"),
        ({"model": network(CLASSES, nn.Hardtanh(0, 1))}, "were cut off to a narrow range"),
        ({"model": network(100)}, "has 100 outputs, but"),
        ({"model": network(1), "loss": OwnBinaryLoss(), "step": with_two_classes}, "are broadcast to (N, N)"),
        ({"model": network(1), "loss": OwnFocalLoss(), "step": with_two_classes}, "are broadcast to (N, N)"),
        ({"step": maximised}, "the loss is maximised"),
        ({"step": Distilled("sum")}, "the losses of a batch are added up"),
        ({"model": network(CLASSES, nn.ReLU()), "step": Distilled("batchmean")}, "the outputs of a ReLU"),
        ({"step": divided_again}, "is divided by the batch size (16) once more"),
    ],
)
def test_a_loss_that_gets_something_else_is_named(
    style: str, tmp_path: Path, parts: dict[str, Any], words: str
) -> None:
    if style == "script" and isinstance(parts.get("loss"), OwnBinaryLoss):
        return  # a loss of one's own that is not passed to watch() shows neither outputs nor labels
    first = warnings(run(style, tmp_path, **parts))[0]
    assert first.rule == "LossInputMismatch"
    assert words in first.cause


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(
    ("loss", "last", "words"),
    [
        (lambda outputs, labels: functional.mse_loss(outputs, binary(labels)), (), "are broadcast to (N, N)"),
        (
            lambda outputs, labels: functional.binary_cross_entropy_with_logits(
                outputs, 2 * binary(labels)[:, None] - 1
            ),
            (),
            "outside 0 to 1",
        ),
        (
            lambda outputs, labels: functional.binary_cross_entropy_with_logits(outputs[:, 0], binary(labels)),
            (nn.Sigmoid(),),
            "applies a sigmoid to outputs of a sigmoid",
        ),
        (
            lambda outputs, labels: functional.binary_cross_entropy_with_logits(outputs[:, 0], binary(labels)),
            (nn.ReLU(),),
            "the output of a ReLU, which cannot be negative",
        ),
        (
            lambda outputs, labels: functional.binary_cross_entropy_with_logits(outputs[:, 0], binary(labels)),
            (nn.Softmax(1),),
            "a softmax over a single output is always 1",
        ),
        (weighted(90.0), (), "pos_weight is 90, but"),
        (lambda outputs, labels: functional.cross_entropy(outputs, 0 * labels), (), "over a single output"),
    ],
)
def test_a_binary_loss_that_gets_something_else_is_named(tmp_path: Path, loss: Any, last: Any, words: str) -> None:
    first = warnings(run("script", tmp_path, model=network(1, *last), loss=loss))[0]
    assert words in first.cause


def test_labels_that_are_smoothed_the_wrong_way_round_are_named(tmp_path: Path) -> None:
    first = warnings(run("script", tmp_path / "wrong", loss=smoothed(0.05)))[0]
    assert first.rule == "LossInputMismatch"
    assert "the same share but one" in first.cause
    assert roots(run("script", tmp_path / "right", loss=smoothed(0.95))) == set()


def test_losses_that_are_added_up_at_a_rate_for_that_are_an_information(tmp_path: Path) -> None:
    loss = nn.CrossEntropyLoss(reduction="sum")
    hook = run("script", tmp_path, loss=loss, optimizer=lambda model: SGD(model.parameters(), 0.003, momentum=0.9))
    found = [finding for finding in hook.findings if finding.rule == "LossInputMismatch" and finding.found]
    assert [(finding.severity, "are added up" in finding.cause) for finding in found] == [(Severity.INFO, True)]
    assert roots(hook) == set()


def test_a_margin_in_the_loss_is_no_part_of_the_predictions(tmp_path: Path) -> None:
    table = run("script", tmp_path, loss=with_margin).tape.predictions("eval")
    late = table.steps > table.steps.max() // 2
    assert (table.labels == table.predictions)[late].mean() > 0.85  # 0.78 with the margin


def test_distances_are_predicted_by_their_sign(tmp_path: Path) -> None:
    hook = run("script", tmp_path, loss=lambda outputs, labels: functional.cross_entropy(-outputs, labels))
    table = hook.tape.predictions("eval")
    assert (table.labels == table.predictions)[table.steps == table.steps.max()].mean() > 0.9


@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_a_healthy_binary_loop_is_silent(tmp_path: Path, weight: float) -> None:
    assert roots(run("script", tmp_path, model=network(1), loss=weighted(weight))) == set()


def test_a_binary_loss_of_each_class_is_silent(tmp_path: Path) -> None:
    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(outputs, functional.one_hot(labels, CLASSES).float())

    hook = run("script", tmp_path, loss=loss)
    assert [finding for finding in warnings(hook) if finding.rule == "LossInputMismatch"] == []


def test_logits_may_be_cut_off_far_away(tmp_path: Path) -> None:
    assert roots(run("script", tmp_path, model=network(CLASSES, nn.Hardtanh(-50, 50)))) == set()
