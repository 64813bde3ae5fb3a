"""Causes that leave the loss falling: what the model, its optimizer and its loss do is named all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from clearsight.core.finding import Finding
from clearsight.debugger.capture.initial_weights import random_share
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.hook import Hook
from tests.debugger.loop_styles import CLASSES, Loop, digits, network, sgd, step, warnings


def first(hook: Hook) -> Finding:
    """Return the finding that a reader sees first."""
    return warnings(hook)[0]


def adam(*groups: tuple[nn.Module, float]) -> torch.optim.Optimizer:
    return torch.optim.Adam([{"params": list(layer.parameters()), "lr": rate} for layer, rate in groups])


# Weights that nobody trains


class Listed(nn.Module):
    """A network that keeps its first layers in a Python list."""

    def __init__(self) -> None:
        super().__init__()
        layers = list(network())
        self.listed, self.rest = layers[:3], nn.Sequential(*layers[3:])

    def forward(self, images: Tensor) -> Tensor:
        for layer in self.listed:
            images = layer(images)
        logits: Tensor = self.rest(images)
        return logits


class HeadInForward(nn.Module):
    """A network whose last layer is a new one in each forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.features = network()[:-1]

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = nn.Linear(288, CLASSES)(self.features(images))
        return logits


def with_list(model: nn.Module) -> torch.optim.Optimizer:
    assert isinstance(model, Listed)
    return torch.optim.SGD([*model.parameters(), *nn.ModuleList(model.listed).parameters()], 0.02)


def test_layers_in_a_list_are_named_unless_the_optimizer_holds_them(tmp_path: Path) -> None:
    finding = first(Loop(model=Listed()).script(tmp_path / "list"))
    assert finding.rule == "FrozenByMistake"
    assert "depend on 1 weights that are no parameters of the model" in finding.cause
    assert warnings(Loop(model=Listed(), optimizer=with_list).script(tmp_path / "held")) == []


def test_a_layer_that_is_made_in_forward_is_named(tmp_path: Path) -> None:
    finding = first(Loop(model=HeadInForward()).script(tmp_path))
    assert "they are new ones in every forward pass" in finding.cause


# Gradients of a part


def test_an_optimizer_that_is_never_cleared_is_named_although_the_last_layer_is(tmp_path: Path) -> None:
    model = network()
    head = sgd(model[-1])

    def step_and_clear_the_head(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
        head.zero_grad()
        loss(model(images), labels).backward()
        optimizer.step()

    rules = [finding.rule for finding in warnings(Loop(model=model, step=step_and_clear_the_head).script(tmp_path))]
    assert rules[0] == "GradientsNotCleared"


def test_layers_that_no_optimizer_holds_may_keep_their_gradients(tmp_path: Path) -> None:
    hook = Loop(optimizer=lambda model: sgd(model[-1])).script(tmp_path)  # type: ignore[index]
    assert "GradientsNotCleared" not in {finding.rule for finding in warnings(hook)}


def test_an_optimizer_that_maximises_is_named(tmp_path: Path) -> None:
    def rising(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), 1e-4, maximize=True)

    finding = first(Loop(optimizer=rising).script(tmp_path))
    assert (finding.rule, "maximize=True" in finding.cause) == ("LossInputMismatch", True)


# Modes


def frozen_norm(model: nn.Sequential) -> nn.Sequential:
    """Return the model with a BatchNorm that stays in evaluation mode."""
    model[1].train = lambda mode=True: model[1]  # type: ignore[method-assign,assignment]
    model[1].training = False
    return model


def test_a_new_batch_norm_in_evaluation_mode_is_named_and_one_with_statistics_is_not(tmp_path: Path) -> None:
    pretrained = network()
    pretrained[1](pretrained[0](digits(0, 64)[:][0]))
    finding = first(Loop(model=frozen_norm(network())).script(tmp_path / "new"))
    assert (finding.rule, finding.subject) == ("TrainModeMissing", "BatchNorm")
    assert warnings(Loop(model=frozen_norm(pretrained)).script(tmp_path / "pretrained")) == []


class AlwaysDropping(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return functional.dropout(features, 0.3)


def test_dropout_that_does_not_listen_to_the_mode_is_named(tmp_path: Path) -> None:
    model = network()
    model[4] = AlwaysDropping()
    finding = first(Loop(model=model).script(tmp_path))
    assert finding.rule == "EvalModeMissing"
    assert "something random is active there" in finding.cause


# Losses


def one_hot(labels: Tensor) -> Tensor:
    return functional.one_hot(labels, CLASSES).float()


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda outputs, labels: functional.mse_loss(outputs.softmax(1), one_hot(labels)), "by their distance"),
        (lambda outputs, labels: functional.kl_div(outputs.softmax(1), one_hot(labels)), "expects their logarithms"),
        (lambda outputs, labels: functional.kl_div(outputs, one_hot(labels)), "that are no log-probabilities"),
        (lambda outputs, labels: functional.multi_margin_loss(outputs.softmax(1), labels), "a margin of 1 apart"),
        (lambda outputs, labels: functional.cross_entropy(outputs / 100, labels), "are multiplied by 0.01"),
        (lambda outputs, labels: functional.mse_loss(outputs[:, 0], labels.float()), "as if they were quantities"),
    ],
)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss")
def test_a_loss_that_learns_slowly_by_its_form_is_named(
    tmp_path: Path, loss: Callable[[Tensor, Tensor], Tensor], words: str
) -> None:
    hook = Loop(loss=loss, model=network(1) if "quantities" in words else network()).script(tmp_path)
    [finding] = [finding for finding in warnings(hook) if finding.rule == "LossInputMismatch"]
    assert words in finding.cause


@pytest.mark.parametrize(
    "loss",
    [
        lambda outputs, labels: functional.kl_div(outputs.log_softmax(1), one_hot(labels), reduction="batchmean"),
        lambda outputs, labels: functional.mse_loss(outputs, one_hot(labels)),
        lambda outputs, labels: functional.cross_entropy(outputs / 2, labels),
    ],
    ids=["kl_div of logarithms", "squared error of outputs", "temperature of 2"],
)
def test_an_unusual_loss_that_is_right_is_silent(tmp_path: Path, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert "LossInputMismatch" not in {finding.rule for finding in warnings(Loop(loss=loss).script(tmp_path))}


# Weights that were to be loaded


def deep() -> nn.Sequential:
    blocks = (layer for _ in range(4) for layer in (nn.Linear(64, 64), nn.ReLU()))
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), *blocks, nn.Linear(64, CLASSES))


@torch.no_grad()
def trained(model: nn.Sequential) -> nn.Sequential:
    """Return the model with weights that share a direction, as those of a long training do."""
    for layer in model:
        if isinstance(layer, nn.Linear):
            size = layer.weight.std()
            layer.weight += 3 * size * torch.outer(torch.randn(layer.out_features), torch.randn(layer.in_features)) / 3
    return model


def test_random_weights_are_told_from_trained_ones() -> None:
    torch.manual_seed(0)
    assert random_share(InspectedModel.of(deep())) == 1
    assert random_share(InspectedModel.of(trained(deep()))) == 0


def test_random_layers_with_a_rate_for_pretrained_ones_are_named(tmp_path: Path) -> None:
    def slow(model: Any) -> torch.optim.Optimizer:
        return adam((model[:-1], 1e-5), (model[-1], 1e-2))

    torch.manual_seed(0)
    finding = first(Loop(model=deep(), optimizer=slow).script(tmp_path / "random"))
    assert (finding.rule, finding.subject) == ("LearningRateTooLow", "rates of the layers")
    loaded = Loop(model=trained(deep()), optimizer=slow).script(tmp_path / "trained")
    assert "LearningRateTooLow" not in {finding.rule for finding in warnings(loaded)}


def test_random_layers_that_are_frozen_are_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = deep()
    model[:-1].requires_grad_(False)
    finding = first(Loop(model=model, optimizer=lambda model: adam((model[-1], 1e-2))).script(tmp_path))  # type: ignore[index]
    assert (finding.rule, finding.subject) == ("PoorWeightInitialization", "pretrained weights")


# Evaluation and schedule


def test_an_evaluation_that_trains_is_named(tmp_path: Path) -> None:
    model, training, held_out = network(), DataLoader(digits(0, 192), 16), DataLoader(digits(200, 96), 32)
    optimizer = sgd(model)
    with Hook(tmp_path / "mine", quiet=True).watch(model, optimizer=optimizer) as hook:
        for loader, mode in ((training, True), (held_out, False)) * 2:
            model.train(mode)
            for images, labels in loader:
                step(model, functional.cross_entropy, optimizer, images, labels)
    finding = first(hook)
    assert finding.rule == "DataLeak"
    assert "the evaluation trains on its images" in finding.cause


def test_a_plateau_of_the_wrong_mode_is_named(tmp_path: Path) -> None:
    model, loader = network(), DataLoader(digits(0, 192), 16)
    optimizer, held_out = sgd(model), digits(200, 96)[:]
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=0)
    with Hook(tmp_path / "mine", quiet=True).watch(model, optimizer=optimizer) as hook:
        for _ in range(3):
            model.train()
            for images, labels in loader:
                step(model, functional.cross_entropy, optimizer, images, labels)
            model.eval()
            with torch.no_grad():
                schedule.step(functional.cross_entropy(model(held_out[0]), held_out[1]))
    causes = [finding.cause for finding in warnings(hook) if finding.rule == "ScheduleMismatch"]
    assert "is the worst validation loss" in causes[0]


# Weights that start wrong, and layers that were meant to be unfrozen


class Normed(nn.Module):
    """Four convolutions, each with a norm, beside a shortcut from the second on."""

    def __init__(self, silent: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.convolutions = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(4))
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(4))
        self.head = nn.Linear(8, CLASSES)
        for norm in list(self.norms)[:silent]:
            nn.init.zeros_(norm.weight)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = maps + functional.relu(norm(convolution(maps)))
        logits: Tensor = self.head(maps.mean((2, 3)))
        return logits


@pytest.mark.parametrize(("silent", "found"), [(4, True), (2, False), (0, False)])
def test_norms_that_multiply_by_0_are_named_unless_they_end_a_branch(tmp_path: Path, silent: int, found: bool) -> None:
    hook = Loop(model=Normed(silent)).tutorial(tmp_path)
    causes = [finding.cause for finding in warnings(hook) if finding.rule == "PoorWeightInitialization"]
    assert ["scales of 4 of 4" in cause for cause in causes] == ([True] if found else [])


def test_weights_of_one_sign_are_named(tmp_path: Path) -> None:
    model = network()
    for layer in (model[0], model[5]):
        nn.init.uniform_(layer.weight)
    assert "lie on one side of 0" in first(Loop(model=model).tutorial(tmp_path)).cause


class Unfreezing:
    """Trains the last layer for 12 steps, and unfreezes the others then, in a way of its own."""

    def __init__(self, *, attribute: bool, renewed: bool) -> None:
        self._attribute, self._renewed = attribute, renewed
        self._steps, self._second = 0, None

    def __call__(self, model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
        self._steps += 1
        if self._steps == 13:
            if self._attribute:
                model[0].requires_grad = True
            else:
                model.requires_grad_(True)
            self._second = sgd(model) if self._renewed else None
        step(model, loss, self._second or optimizer, images, labels)


@pytest.mark.parametrize(
    ("attribute", "renewed", "words"),
    [
        (True, True, "requires_grad was set on 1 modules"),
        (False, False, "were unfrozen after the training had begun"),
        (False, True, ""),
    ],
)
def test_layers_that_were_meant_to_be_unfrozen_are_named(
    tmp_path: Path, attribute: bool, renewed: bool, words: str
) -> None:
    model = network()
    model[:5].requires_grad_(False)
    unfreezing = Unfreezing(attribute=attribute, renewed=renewed)
    hook = Loop(model=model, optimizer=lambda model: sgd(model[5]), step=unfreezing).tutorial(tmp_path)  # type: ignore[index]
    causes = [finding.cause for finding in warnings(hook) if finding.rule == "FrozenByMistake"]
    assert [words in cause for cause in causes] == ([True] if words else [])
