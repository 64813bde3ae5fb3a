"""Weights that something else than the optimizer writes, in loops on real digits under the README's two lines."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from clearsight.debugger.hook import Hook
from tests.debugger.loop_styles import CLASSES, digits

EPOCHS = 6
State = dict[str, Tensor]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, CLASSES))


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    """Return an optimizer that is slow enough for every epoch to be better than the one before."""
    return torch.optim.SGD(model.parameters(), 0.005, momentum=0.5)


class Loop:
    """A training with places for what a test writes into the weights. states: at the start, and after every epoch."""

    def __init__(self, optimizer: Callable[[nn.Module], torch.optim.Optimizer] = sgd) -> None:
        self.model = network()
        self.optimizer, self.loss = optimizer(self.model), nn.CrossEntropyLoss()
        self.states: list[State] = [copy.deepcopy(self.model.state_dict())]
        self.losses: list[float] = []
        self._train, self._valid = digits(0, 192), DataLoader(digits(200, 160), 80)

    def epoch(self) -> None:
        self.model.train()
        for images, labels in DataLoader(self._train, 16, shuffle=True, generator=torch.Generator().manual_seed(1)):

            def closure(images: Tensor = images, labels: Tensor = labels) -> float:
                self.optimizer.zero_grad()
                loss: Tensor = self.loss(self.model(images), labels)
                loss.backward()
                return float(loss.detach())

            if isinstance(self.optimizer, torch.optim.LBFGS):
                self.optimizer.step(closure)
            else:
                closure()
                self.optimizer.step()
            self.after_step()

    def after_step(self) -> None:
        """Do what the loop does after each step."""

    @torch.no_grad()
    def validate(self, model: nn.Module | None = None) -> None:
        model = (model or self.model).eval()
        losses = [float(self.loss(model(images), labels)) for images, labels in self._valid]
        self.losses.append(sum(losses) / len(losses))
        self.states.append(copy.deepcopy(self.model.state_dict()))

    def load(self, place: int) -> None:
        self.model.load_state_dict(self.states[place])

    def run(self) -> None:
        for _ in range(EPOCHS):
            self.epoch()
            self.validate()


def causes(folder: Path, loop: Loop, run: Callable[[Any], object]) -> dict[str, str]:
    """Return the causes of what is found in a loop, by rule."""
    rules = ["UpdateMissing", "WorseFinalWeights"]
    hook = Hook(folder / "mine", quiet=True, rules=rules).watch(loop.model, loss=loop.loss, optimizer=loop.optimizer)
    run(loop)
    hook.close()
    assert hook.failure is None
    return {finding.rule: finding.cause for finding in hook.findings if finding.found}


# Faults


def reloaded(loop: Loop, place: int) -> None:
    for epoch in range(EPOCHS):
        if epoch >= place:
            loop.load(place)
        loop.epoch()
        loop.validate()


def test_a_checkpoint_that_is_loaded_before_every_epoch_is_named(tmp_path: Path) -> None:
    found = causes(tmp_path, Loop(), lambda loop: reloaded(loop, 0))
    assert found.keys() == {"UpdateMissing"}
    assert "before epoch 2, 3, 4 and 2 times more" in found["UpdateMissing"]
    assert "from before the training" in found["UpdateMissing"]


def test_the_first_epoch_that_is_loaded_before_every_other_is_named(tmp_path: Path) -> None:
    assert (
        "set back to those after step 12" in causes(tmp_path, Loop(), lambda loop: reloaded(loop, 1))["UpdateMissing"]
    )


def test_layers_that_begin_anew_in_every_epoch_are_named(tmp_path: Path) -> None:
    def renewed(loop: Loop) -> None:
        for _ in range(EPOCHS):
            for layer in (loop.model[0], loop.model[3]):
                layer.reset_parameters()
            loop.epoch()
            loop.validate()

    assert "all weights got other values" in causes(tmp_path, Loop(), renewed)["UpdateMissing"]


def test_weights_that_are_cut_as_in_a_wgan_are_named(tmp_path: Path) -> None:
    class Cut(Loop):
        def after_step(self) -> None:
            for parameter in self.model.parameters():
                parameter.data.clamp_(-0.001, 0.001)

    assert "cut to at most 0.001" in causes(tmp_path, Cut(), Loop.run)["UpdateMissing"]


@pytest.mark.parametrize(("place", "words"), [(0, "from before the training"), (1, "those of epoch 1,")])
def test_an_early_stopping_that_keeps_the_wrong_weights_is_named(place: int, words: str, tmp_path: Path) -> None:
    def stopped(loop: Loop) -> None:
        loop.run()
        loop.load(place)

    found = causes(tmp_path, Loop(), stopped)
    assert found.keys() == {"WorseFinalWeights"}
    assert words in found["WorseFinalWeights"]


# Legitimate loops


def best_kept(loop: Loop) -> None:
    """Load the weights of the best epoch, and test them."""
    loop.run()
    loop.load(1 + loop.losses.index(min(loop.losses)))
    loop.validate()


def best_on_plateau(loop: Loop) -> None:
    """Go back to the best epoch after every one that is worse, with a tenth of the rate."""
    best, kept = float("inf"), 0
    for epoch in range(EPOCHS):
        if epoch >= 2:
            loop.optimizer.param_groups[0]["lr"] = 2.0  # too high: every epoch is worse
        loop.epoch()
        loop.validate()
        if loop.losses[-1] < best:
            best, kept = loop.losses[-1], len(loop.states) - 1
        else:
            loop.load(kept)


def two_phases(loop: Loop) -> None:
    """Train the head, load its best epoch, and train all layers with an optimizer that is new."""
    loop.run()
    loop.load(2)
    loop.model[0].requires_grad_(True)
    loop.optimizer = torch.optim.SGD(loop.model.parameters(), 0.005)
    loop.run()


def rate_test(loop: Loop) -> None:
    """Try learning rates for an epoch and go back to the start."""
    for group in loop.optimizer.param_groups:
        group["lr"] = 0.3
    loop.epoch()
    loop.load(0)
    for group in loop.optimizer.param_groups:
        group["lr"] = 0.005
    loop.run()


def averaged_for_evaluation(loop: Loop) -> None:
    """Put averaged weights into the model for every evaluation, and keep them at the end."""
    average = AveragedModel(loop.model)
    for epoch in range(EPOCHS):
        loop.epoch()
        average.update_parameters(loop.model)
        own = copy.deepcopy(loop.model.state_dict())
        loop.model.load_state_dict(average.module.state_dict())
        loop.validate()
        if epoch < EPOCHS - 1:
            loop.model.load_state_dict(own)


def loaded_before_the_training(loop: Loop) -> None:
    loop.load(0)
    loop.validate()
    loop.load(0)
    loop.run()


def folds(loop: Loop) -> None:
    """Begin at the start for each fold, with the optimizer as it is."""
    for _ in range(3):
        loop.load(0)
        for _ in range(2):
            loop.epoch()
            loop.validate()


def folds_with_own_optimizers(loop: Loop) -> None:
    """Begin every fold with an optimizer of its own, and leave the weights as they were."""
    for fold in range(3):
        loop.optimizer = sgd(loop.model) if fold else loop.optimizer
        for _ in range(2):
            loop.epoch()
            loop.validate()
        loop.load(0)


def inferring(loop: Loop) -> None:
    """Evaluate in inference mode, before the training too."""
    for _ in range(EPOCHS):
        with torch.inference_mode():
            loop.validate()
        loop.epoch()


LEGITIMATE = (
    *(Loop.run, best_kept, best_on_plateau, two_phases, rate_test, averaged_for_evaluation),
    *(loaded_before_the_training, folds, folds_with_own_optimizers, inferring),
)


@pytest.mark.parametrize("run", LEGITIMATE)
def test_a_legitimate_loop_is_silent(run: Callable[[Loop], None], tmp_path: Path) -> None:
    loop = Loop()
    loop.model[0].requires_grad_(run is not two_phases)
    # Of a second optimizer something else is said: that the watched one steps no more.
    assert {cause for cause in causes(tmp_path, loop, run).values() if "last step" not in cause} == set()


@pytest.mark.parametrize("kind", ["largest norm", "decay", "sharpness", "noise", "lookahead"])
def test_small_changes_after_each_step_are_silent(kind: str, tmp_path: Path) -> None:
    class Changed(Loop):
        count = 0

        @torch.no_grad()
        def after_step(self) -> None:
            self.count += 1
            weight: Any = self.model[3].weight
            before = weight.detach().clone()
            match kind:
                case "largest norm":
                    weight.copy_(weight.renorm(2, 0, 0.3))
                case "decay":
                    weight.mul_(0.999)
                case "sharpness":
                    weight.add_(0.05)
                    weight.copy_(before)
                case "noise":
                    weight.add_(0.001 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(self.count)))
                case "lookahead" if self.count % 5 == 0:
                    slow = self.states[0].setdefault("slow", self.states[0]["3.weight"].clone())
                    weight.copy_(slow.lerp_(weight, 0.5))

    assert causes(tmp_path, Changed(), Loop.run) == {}


def test_steps_that_evaluate_a_closure_are_silent(tmp_path: Path) -> None:
    loop = Loop(lambda model: torch.optim.LBFGS(model.parameters(), 0.1, max_iter=3))
    assert not any("weights" in cause for cause in causes(tmp_path, loop, Loop.run).values())


def test_a_second_optimizer_of_the_same_model_is_silent(tmp_path: Path) -> None:
    class Alternating(Loop):
        second: torch.optim.Optimizer | None = None

        def after_step(self) -> None:
            self.second = self.second or torch.optim.SGD(self.model[3].parameters(), 0.001)
            self.second.step()

    assert causes(tmp_path, Alternating(), Loop.run) == {}
