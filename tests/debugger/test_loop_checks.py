"""What two lines tell about a loop: its mistakes by their names, in two styles, and silence about healthy twins."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from clearsight.debugger.hook import Hook
from clearsight.debugger.rules.check_input_images import CheckInputImages
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.testing.rules import only
from tests.debugger.loop_mistakes import (
    Distilled,
    Mixup,
    OneBatchForEver,
    OwnBinaryLossOfRows,
    OwnFocalLossOfRows,
    StepOncePer,
    cleared_before_step,
    detached,
    equal_labels,
    shifted_labels,
    with_two_classes,
    without_step,
    zeroed_before_step,
)
from tests.debugger.loop_styles import CLASSES, EPOCHS, Loop, copied, network, roots, run, sgd, step, warnings

STEPS = 36  # 12 of an epoch


# Healthy loops are silent


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"fresh_loader": True},
        {"no_grad": False},
        {"step": StepOncePer(3, clears=False)},
        {"schedule": lambda optimizer: lr_scheduler.StepLR(optimizer, 2)},
        {"schedule": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.05, STEPS), "per_batch": True},
        {"model": network(CLASSES, nn.LogSoftmax(1)), "loss": nn.NLLLoss()},
        {"model": network(1), "loss": OwnBinaryLossOfRows(), "step": with_two_classes},
        {"model": network(1), "loss": OwnFocalLossOfRows(), "step": with_two_classes},
        {"step": Distilled("batchmean")},
    ],
    ids=[
        *("plain", "fresh loaders", "no no_grad", "accumulated", "StepLR", "OneCycleLR", "NLL of logs", "binary"),
        *("focal", "distilled"),
    ],
)
def test_a_healthy_loop_is_silent(style: str, tmp_path: Path, parts: dict[str, Any]) -> None:
    assert [(finding.rule, finding.cause) for finding in warnings(run(style, tmp_path, **parts))] == []


# What is inferred


def test_classes_epochs_and_steps_are_inferred(style: str, tmp_path: Path) -> None:
    hook = run(style, tmp_path)
    context = hook.tape.context
    assert (len(context.classes), context.steps_per_epoch, context.batch_size) == (CLASSES, 12, 16)
    assert context.loss == "CrossEntropyLoss"
    assert context.loop.loss_factor == 1
    assert hook.tape.scalar("loss").epochs.tolist() == [1] * 12 + [2] * 12 + [3] * 12
    assert hook.tape.evaluations().epochs.tolist() == [1, 2, 3]
    assert SavedRun(hook.out).context == context


def test_loss_functions_give_loss_accuracy_and_predictions(tmp_path: Path) -> None:
    tape = run("script", tmp_path).tape
    assert len(tape.scalar("loss")) == len(tape.scalar("accuracy")) == STEPS
    assert len(tape.predictions()) == 192 * EPOCHS


def test_what_the_user_reports_is_not_recorded_twice(tmp_path: Path) -> None:
    model = network()
    optimizer = sgd(model)
    images, labels = torch.randn(8, 3, 8, 8), torch.arange(8) % CLASSES
    with Hook(tmp_path / "mine", quiet=True, rules="none").watch(model, optimizer=optimizer) as hook:
        for _ in range(3):
            optimizer.zero_grad()
            logits = model(images)
            loss = functional.cross_entropy(logits, labels)
            hook.record(loss=loss, logits=logits, labels=labels, indices=torch.arange(8))
            loss.backward()
            optimizer.step()
    assert len(hook.tape.predictions()) == 24
    assert hook.tape.predictions().indices.tolist() == [*range(8)] * 3


def test_a_head_that_learns_nothing_is_named_without_arguments(style: str, tmp_path: Path) -> None:
    def shuffled_labels(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
        step(model, loss, optimizer, images, torch.randint(0, CLASSES, labels.shape))

    def slow(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), 1e-3)

    hook = run(style, tmp_path, step=shuffled_labels, optimizer=slow)
    verdicts = {finding.rule: finding for finding in hook.findings}
    assert "not known" not in verdicts["NotLearning"].cause


# Modes


def test_a_missing_train_mode_is_named_and_training_images_are_no_leak(style: str, tmp_path: Path) -> None:
    hook = run(style, tmp_path, train_modes=1)
    assert roots(hook) == {"TrainModeMissing"}
    assert len(hook.tape.scalar("loss")) == STEPS
    assert hook.tape.evaluations().steps.tolist() == [12, 24, 36]


def test_a_missing_train_mode_is_no_leak_in_a_loop_without_loaders(tmp_path: Path) -> None:
    model = network()
    optimizer, images, labels = sgd(model), torch.randn(96, 3, 8, 8), torch.arange(96) % CLASSES
    with Hook(tmp_path / "mine", quiet=True).watch(model, optimizer=optimizer) as hook:
        for _ in range(EPOCHS):
            for first in range(0, 80, 8):
                batch = slice(first, first + 8)
                step(model, functional.cross_entropy, optimizer, images[batch], labels[batch])
            model.eval()
            with torch.no_grad():
                functional.cross_entropy(model(images[80:]), labels[80:])
    assert hook.failure is None
    assert "TrainModeMissing" in roots(hook)
    assert "DataLeak" not in roots(hook)


@pytest.mark.parametrize("no_grad", [True, False])
def test_a_missing_eval_mode_is_named(style: str, tmp_path: Path, no_grad: bool) -> None:
    hook = run(style, tmp_path, eval_mode=False, no_grad=no_grad)
    assert roots(hook) == {"EvalModeMissing"}
    assert hook.tape.evaluations().steps.tolist() == [12, 24, 36]


def test_a_model_without_such_layers_may_be_in_any_mode(style: str, tmp_path: Path) -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, CLASSES))
    assert roots(run(style, tmp_path, model=plain, train_modes=1, eval_mode=False)) == set()


def test_statistics_of_batch_norm_that_are_measured_anew_are_no_validation(tmp_path: Path) -> None:
    loader = DataLoader(Loop()._training().dataset, 16, shuffle=True)
    model = network()
    optimizer = sgd(model)
    with Hook(tmp_path / "mine", quiet=True).watch(model, loss=nn.CrossEntropyLoss(), optimizer=optimizer) as hook:
        for images, labels in loader:
            step(model, functional.cross_entropy, optimizer, images, labels)
        torch.optim.swa_utils.update_bn(loader, model)
    assert hook.failure is None
    assert hook.tape.context.loop.eval_passes == 0


# Updates


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (without_step, "none was followed by a step"),
        (cleared_before_step, "were cleared in between"),
        (zeroed_before_step, "gradients that are exactly 0"),
        (detached, "no backward reached the model's outputs"),
        (StepOncePer(12, clears=True), "were cleared before any step"),
    ],
)
def test_an_update_that_is_missing_is_named(style: str, tmp_path: Path, wrong: Any, words: str) -> None:
    hook = run(style, tmp_path, step=wrong)
    [finding] = [finding for finding in warnings(hook) if finding.rule == "UpdateMissing"]
    assert words in finding.cause
    assert warnings(hook)[0] == finding


def test_a_closure_may_clear_gradients_between_its_passes(style: str, tmp_path: Path) -> None:
    def closed(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
        def closure() -> Tensor:
            optimizer.zero_grad()
            value: Tensor = loss(model(images), labels)
            value.backward()
            return value

        optimizer.step(closure)

    hook = run(style, tmp_path, step=closed, optimizer=lambda model: torch.optim.LBFGS(model.parameters(), 0.01))
    assert [finding for finding in warnings(hook) if finding.rule == "UpdateMissing"] == []


def test_a_copy_that_is_run_in_place_of_the_watched_model_is_named(style: str, tmp_path: Path) -> None:
    model = network()
    hook = run(style, tmp_path, model=model, run=copied(model))
    assert "was never run" in warnings(hook)[0].cause


def test_an_optimizer_of_a_copy_and_one_without_the_head_are_named(style: str, tmp_path: Path) -> None:
    of_copy = run(style, tmp_path / "copy", optimizer=lambda model: sgd(copied(model)))
    no_head = run(style, tmp_path / "head", optimizer=lambda model: sgd(model[0]))  # type: ignore[index]
    assert "the optimizer holds none of them" in warnings(of_copy)[0].cause
    assert (warnings(no_head)[0].rule, warnings(no_head)[0].subject) == ("FrozenByMistake", "5")


def test_another_optimizer_than_the_watched_one_is_named(style: str, tmp_path: Path) -> None:
    model = network()
    other = sgd(model)

    def step_other(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
        step(model, loss, other, images, labels)

    assert "another optimizer steps" in warnings(run(style, tmp_path, model=model, step=step_other))[0].cause


def test_an_optimizer_of_a_second_phase_takes_the_place_of_the_first(style: str, tmp_path: Path) -> None:
    model = network()
    for parameter in model[:5].parameters():
        parameter.requires_grad = False
    steps = count(1)
    second: list[torch.optim.Optimizer] = []

    def two_phases(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
        if next(steps) == 20:
            model.requires_grad_(True)
            second.append(torch.optim.Adam(model.parameters(), lr=1e-3))
        step(model, loss, second[0] if second else optimizer, images, labels)

    hook = run(style, tmp_path, model=model, step=two_phases, optimizer=lambda model: sgd(model[5]))  # type: ignore[index]
    assert [finding for finding in warnings(hook) if finding.rule in ("UpdateMissing", "FrozenByMistake")] == []
    rates, tape = hook.tape.scalar("lr").values, hook.tape
    assert rates[-1] == pytest.approx(1e-3)
    assert tape.context.optimizer == "adam"
    assert all(info.optimized and info.trainable for info in tape.context.parameters)


# Batches and labels


def test_one_batch_for_ever_is_named(style: str, tmp_path: Path) -> None:
    hook = run(style, tmp_path, step=OneBatchForEver())
    assert "are the same batch, although an epoch has 12" in warnings(hook)[0].cause


def test_one_batch_for_ever_is_named_where_the_length_of_an_epoch_is_not_known(tmp_path: Path) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    images, labels = torch.randn(16, 3, 8, 8), torch.arange(16) % CLASSES
    hook = Hook(tmp_path / "mine", quiet=True).watch(model, loss=loss, optimizer=optimizer)
    for _ in range(STEPS):
        step(model, loss, optimizer, images, labels)
    hook.close()
    finding = only(CheckInputImages(), hook.tape)
    assert finding.found
    assert "the length of an epoch is not known" in finding.cause


def test_labels_that_are_all_equal_are_named(style: str, tmp_path: Path) -> None:
    assert "are 2: the model can learn nothing" in warnings(run(style, tmp_path, step=equal_labels))[0].cause


def test_labels_in_order_are_named(style: str, tmp_path: Path) -> None:
    def sorted_labels(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
        keep = labels == labels[0]
        step(model, loss, optimizer, images[keep].repeat(6, 1, 1, 1)[:16], labels[keep].repeat(6)[:16])

    assert warnings(run(style, tmp_path, step=sorted_labels))[0].rule == "ShuffledWrong"


def test_labels_outside_of_the_outputs_are_named_although_the_loop_ends(style: str, tmp_path: Path) -> None:
    loop = Loop(step=shifted_labels)
    with pytest.raises(IndexError):
        (loop.tutorial if style == "tutorial" else loop.script)(tmp_path)
    cause = (tmp_path / "mine" / "findings.jsonl").read_text()
    assert "a label is no index of the model's outputs" in cause


# Schedules


class StoppingCycle(lr_scheduler.OneCycleLR):
    """A cycle that is over stays at its end, as authors guard it."""

    def step(self, epoch: int | None = None) -> None:
        if self.last_epoch < self.total_steps - 1:
            super().step(epoch)


class FractionalRestarts(lr_scheduler.CosineAnnealingWarmRestarts):
    """Counts epochs and is stepped by parts of one in every batch, as its documentation shows."""

    batches = 0

    def step(self, epoch: float | None = None) -> None:
        super().step(self.batches / 12)
        self.batches += 1


class NoisyPlateau(lr_scheduler.ReduceLROnPlateau):
    """Gets the loss of a batch: its noise stands for it here."""

    def step(self, metrics: float = 0.0, epoch: int | None = None) -> None:
        super().step(1 + 0.1 * (self.last_epoch % 3), epoch)


@pytest.mark.parametrize(
    ("schedule", "per_batch", "words"),
    [
        (lambda optimizer: lr_scheduler.StepLR(optimizer, 2), True, "stepped after every batch and is over after 2"),
        (lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS), True, "its length is meant in epochs"),
        (lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.05, STEPS), False, "that of the run in batches"),
        (lambda optimizer: lr_scheduler.StepLR(optimizer, 2), None, "was never stepped in 3 epochs"),
        (lambda optimizer: StoppingCycle(optimizer, 0.05, 8), True, "is over after 8 of its steps, within the first"),
        (lambda optimizer: NoisyPlateau(optimizer, factor=0.5, patience=1), True, "the noise between batches"),
        (lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.02), False, "returns 0.02, which is the"),
    ],
)
def test_a_schedule_in_the_wrong_unit_is_named(
    style: str, tmp_path: Path, schedule: Any, per_batch: bool | None, words: str
) -> None:
    found = warnings(run(style, tmp_path, schedule=schedule, per_batch=per_batch))
    assert words in next(finding.cause for finding in found if finding.rule == "ScheduleMismatch")


@pytest.mark.parametrize(
    ("schedule", "per_batch"),
    [
        (lambda optimizer: FractionalRestarts(optimizer, 4), True),
        (lambda optimizer: NoisyPlateau(optimizer, factor=0.5, patience=100), True),
        (lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.9**epoch), False),
        (lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.8), False),
    ],
)
def test_other_schedules_are_clear(style: str, tmp_path: Path, schedule: Any, per_batch: bool) -> None:
    found = warnings(run(style, tmp_path, schedule=schedule, per_batch=per_batch))
    assert [finding for finding in found if finding.rule == "ScheduleMismatch"] == []


def test_a_rate_of_0_is_named(style: str, tmp_path: Path) -> None:
    hook = run(style, tmp_path, optimizer=lambda model: torch.optim.SGD(model.parameters(), 0.0))
    assert "the learning rate was 0 in all 36 steps" in warnings(hook)[0].cause


# Labels


@pytest.mark.parametrize("labels", [False, True], ids=["images alone", "labels too"])
def test_images_that_are_mixed_without_their_labels_are_named(style: str, tmp_path: Path, labels: bool) -> None:
    found = warnings(run(style, tmp_path, step=Mixup(labels=labels)))
    causes = [finding.cause for finding in found if finding.rule == "LabelNoise"]
    assert ["40% of an image are another one's" in cause for cause in causes] == ([] if labels else [True])


# Nothing stays behind


def test_libraries_are_as_before_when_the_hook_is_closed(style: str, tmp_path: Path) -> None:
    before = [torch._C._nn.cross_entropy_loss, torch._C._nn.nll_loss_nd, DataLoader.__iter__]
    run(style, tmp_path)
    assert [torch._C._nn.cross_entropy_loss, torch._C._nn.nll_loss_nd, DataLoader.__iter__] == before
