"""What two lines see of one output per image, of other models than the watched one, and of how losses are added."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from clearsight.debugger.hook import Hook
from tests.debugger.loop_styles import CLASSES, Loop, digits, network, roots, sgd, step, warnings

STEPS = 36


def with_two_classes(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
    step(model, loss, optimizer, images, (labels > 1).float()[:, None])


def of_rows(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(outputs.squeeze(1), (labels > 1).float())


def by_hand(outputs: Tensor, labels: Tensor) -> Tensor:
    """Compare every output (N, 1) with every label (N,)."""
    shares, targets = torch.sigmoid(outputs), (labels > 1).float()
    return -(targets * shares.log() + (1 - targets) * (1 - shares).log()).mean()


def by_hand_of_rows(outputs: Tensor, labels: Tensor) -> Tensor:
    shares, targets = torch.sigmoid(outputs)[:, 0], (labels > 1).float()
    return -(targets * shares.log() + (1 - targets) * (1 - shares).log()).mean()


# One output per image


@pytest.mark.parametrize(
    ("last", "loss"),
    [((), nn.BCEWithLogitsLoss()), ((nn.Sigmoid(),), nn.BCELoss())],
    ids=["logits", "probabilities"],
)
def test_one_output_per_image_gives_predictions_of_two_classes(
    tmp_path: Path, last: tuple[nn.Module, ...], loss: nn.Module
) -> None:
    class Binary(nn.Module):
        def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
            return loss(outputs, labels if labels.is_floating_point() else (labels > 1).float()[:, None])

    hook = Loop(model=network(1, *last), loss=Binary(), step=with_two_classes).script(tmp_path)
    tape = hook.tape
    assert len(tape.context.classes) == 2
    assert len(tape.predictions()) == 16 * STEPS
    assert set(tape.predictions().labels.tolist()) == {0, 1}
    assert tape.scalar("accuracy").values[-6:].mean() > 0.8
    assert len(tape.predictions("eval")) == 3 * 96
    assert len(tape.scalar("eval_mode_loss")) > 1


def test_an_output_of_rows_is_one_of_two_classes_too(tmp_path: Path) -> None:
    tape = Loop(model=network(1), loss=of_rows).script(tmp_path).tape
    assert len(tape.predictions()) == 16 * STEPS


@pytest.mark.parametrize(("wrong", "found"), [(by_hand, True), (by_hand_of_rows, False)])
def test_every_output_beside_every_label_is_seen_in_the_gradient(tmp_path: Path, wrong: Any, found: bool) -> None:
    hook = Loop(model=network(1), loss=wrong).script(tmp_path)
    causes = [finding.cause for finding in warnings(hook) if finding.rule == "LossInputMismatch"]
    assert any("broadcast" in cause for cause in causes) is found


# Other models


def trained(folder: Path, evaluate: Callable[[nn.Module], nn.Module], watched_loss: nn.Module | None) -> Hook:
    """Train for three epochs; `evaluate` returns the model that is evaluated after each."""
    torch.manual_seed(0)
    model = network()
    optimizer = sgd(model)
    hook = Hook(folder / "run", quiet=True).watch(model, loss=watched_loss, optimizer=optimizer)
    for _ in range(3):
        model.train()
        for images, labels in DataLoader(digits(0, 192), 16, shuffle=True):
            step(model, watched_loss or functional.cross_entropy, optimizer, images, labels)
        other = evaluate(model)
        other.eval()
        with torch.no_grad():
            for images, labels in DataLoader(digits(200, 96), 32):
                functional.cross_entropy(other(images), labels)
    hook.close()
    assert hook.failure is None
    return hook


@pytest.mark.parametrize("watched_loss", [None, nn.CrossEntropyLoss(label_smoothing=0.1)])
@pytest.mark.parametrize("evaluate", [lambda model: model, copy.deepcopy], ids=["watched", "copy"])
def test_validation_counts_by_any_loss_and_any_copy_of_the_model(
    tmp_path: Path, evaluate: Callable[[nn.Module], nn.Module], watched_loss: nn.Module | None
) -> None:
    tape = trained(tmp_path, evaluate, watched_loss).tape
    assert tape.evaluations().steps.tolist() == [12, 24, 36]
    assert len(tape.predictions("eval")) == 3 * 96
    assert len(tape.predictions()) == 192 * 3
    assert len(tape.scalar("loss")) == STEPS


def test_another_model_that_is_trained_is_named(tmp_path: Path) -> None:
    model = network()
    hook = Hook(tmp_path / "run", quiet=True).watch(model, optimizer=sgd(model))
    other = network()
    optimizer = sgd(other)
    for images, labels in DataLoader(digits(0, 192), 16):
        step(other, functional.cross_entropy, optimizer, images, labels)
    hook.close()
    assert "another model is trained" in warnings(hook)[0].cause


# What the loss gets, and how it is added up


@pytest.mark.parametrize(
    ("last", "words"), [(nn.ReLU(), "outputs of a ReLU"), (nn.Sigmoid(), "outputs of a sigmoid"), (nn.Identity(), "")]
)
def test_an_activation_behind_the_last_layer_is_named(tmp_path: Path, last: nn.Module, words: str) -> None:
    hook = Loop(model=network(CLASSES, last)).script(tmp_path)
    causes = [finding.cause for finding in warnings(hook) if finding.rule == "LossInputMismatch"]
    assert [words in cause for cause in causes] == ([True] if words else [])


def fast(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)


@pytest.mark.parametrize(
    ("loss", "optimizer", "found"),
    [
        (nn.CrossEntropyLoss(reduction="sum"), fast, True),
        (nn.CrossEntropyLoss(reduction="sum"), lambda model: torch.optim.Adam(model.parameters(), 2e-3), False),
        (nn.CrossEntropyLoss(), fast, False),
    ],
)
def test_losses_that_are_added_up_are_named_where_the_rate_does_not_fit(
    tmp_path: Path, loss: nn.Module, optimizer: Any, found: bool
) -> None:
    hook = Loop(loss=loss, optimizer=optimizer).tutorial(tmp_path)
    assert any("are added up instead of averaged" in finding.cause for finding in hook.findings) is found


def test_smoothed_labels_and_inverted_weights_are_named(tmp_path: Path) -> None:
    smoothed = Loop(loss=nn.CrossEntropyLoss(label_smoothing=0.9)).tutorial(tmp_path / "smoothed")
    assert any("label smoothing of 0.9" in finding.cause for finding in warnings(smoothed))

    def rare(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
        kept = (labels == 0) | (torch.arange(len(labels)) % 4 == 0)  # class 0 has four times the images
        step(model, loss, optimizer, images[kept], labels[kept])

    weights = torch.tensor([4.0, 1.0, 1.0, 1.0])
    inverted = Loop(loss=nn.CrossEntropyLoss(weight=weights), step=rare).tutorial(tmp_path / "inverted")
    assert any("class weights grow" in finding.cause for finding in inverted.findings)


# Optimizers and layers


def test_an_eps_above_the_gradients_is_named(tmp_path: Path) -> None:
    hook = Loop(optimizer=lambda model: torch.optim.Adam(model.parameters(), 1e-3, eps=1.0)).script(tmp_path)
    assert [finding.subject for finding in warnings(hook) if finding.rule == "LearningRateTooLow"] == ["eps"]


def test_features_that_are_detached_are_named(tmp_path: Path) -> None:
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten()), nn.Linear(288, CLASSES)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.body(images).detach())

    hook = Loop(model=Detached()).script(tmp_path)
    [finding] = [finding for finding in warnings(hook) if finding.rule == "FrozenByMistake"]
    assert "never got a gradient" in finding.cause
    assert "UnchangedTensor" not in roots(hook)


def test_images_that_have_lost_their_differences_are_no_leak(tmp_path: Path) -> None:
    class Dark(nn.Module):
        """Gets images of which a few patterns are left."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(images)

    def dark(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
        step(model, loss, optimizer, torch.zeros_like(images), labels)

    hook = Loop(model=Dark(), step=dark).script(tmp_path)
    assert "DataLeak" not in roots(hook)
