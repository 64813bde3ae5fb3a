"""Batches that a loop trains on, by two lines: images that its sampler draws, and passes that nothing follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from clearsight.core.finding import Finding
from clearsight.debugger.hook import Hook
from tests.debugger.loop_styles import CLASSES, digits, network, sgd, step

TRAIN, VALID, BATCH, EPOCHS = 480, 160, 24, 2
Step = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], None]


class Images(Dataset[tuple[Tensor, Tensor]]):
    """Training images with a little noise, as augmentation makes it: none comes twice."""

    def __init__(self) -> None:
        self.images, self.labels = digits(0, TRAIN).tensors

    def __len__(self) -> int:
        return TRAIN

    def __getitem__(self, place: Any) -> tuple[Tensor, Tensor]:
        image = self.images[int(place)]
        return image + 0.05 * torch.randn(image.shape), self.labels[int(place)]


def ordinary(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    step(model, functional.cross_entropy, optimizer, images, labels)


def validate(model: nn.Module) -> None:
    model.eval()
    with torch.no_grad():
        for images, labels in DataLoader(digits(TRAIN, VALID), 40):
            functional.cross_entropy(model(images), labels)


def train(folder: Path, loader: Any, once: Step = ordinary, *, epochs: int = EPOCHS, batches: int = 0) -> Hook:
    """Train on a loader. batches: of an epoch, 0 for all."""
    torch.manual_seed(1)
    model = network()
    optimizer = sgd(model)
    hook = Hook(folder / "mine", quiet=True).watch(model, optimizer=optimizer)
    for _ in range(epochs):
        model.train()
        for number, (images, labels) in enumerate(loader, 1):
            once(model, optimizer, images, labels)
            if number == batches:
                break
        validate(model)
    hook.close()
    assert hook.failure is None
    return hook


def found(hook: Hook, rule: str) -> list[Finding]:
    return [finding for finding in hook.findings if finding.found and finding.rule == rule]


def causes(hook: Hook, rule: str) -> str:
    return "; ".join(finding.cause for finding in found(hook, rule))


# Images that the sampler draws


def weights_per_class() -> WeightedRandomSampler:
    return WeightedRandomSampler([0.25] * CLASSES, num_samples=TRAIN)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sampler": weights_per_class()}, "are the same 4 of 480"),
        ({"sampler": RandomSampler(range(24), replacement=True, num_samples=TRAIN)}, "are the same 24 of 480"),
        ({"sampler": torch.arange(TRAIN) % 20}, "are the same 20 of 480"),
        ({"batch_sampler": [np.arange(BATCH)] * 20, "batch_size": 1}, "are the same 24 of 480"),
        ({"sampler": weights_per_class(), "num_workers": 1}, "are the same 4 of 480"),
        ({"sampler": weights_per_class(), "num_workers": 1, "persistent_workers": True}, "are the same 4 of 480"),
    ],
    ids=["weights per class", "first images", "tensors", "arrays", "worker", "worker that stays"],
)
def test_few_images_that_are_drawn_again_and_again_are_named(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    hook = train(tmp_path, DataLoader(Images(), **{"batch_size": BATCH, **options}))
    assert words in causes(hook, "CheckInputImages")
    assert hook.findings[0].group == "CheckInputImages"
    assert hook.tape.context.loop.epoch_draws == TRAIN  # of one epoch


def balanced() -> WeightedRandomSampler:
    """Return a sampler of a dataset whose first class has nine tenths of the images."""
    weights = torch.where(torch.arange(TRAIN) < 0.9 * TRAIN, 1.0, 27.0)
    return WeightedRandomSampler(weights, num_samples=TRAIN)


class Forever(Sampler[int]):
    """Draws permutations without an end, as loops that count steps do."""

    def __iter__(self) -> Iterator[int]:
        while True:
            yield from torch.randperm(TRAIN).tolist()


def repeated() -> list[int]:
    """Return each third image three times: repeated augmentation (Hoffer et al. 2020)."""
    return torch.randperm(TRAIN)[: TRAIN // 3].repeat_interleave(3).tolist()


@pytest.mark.parametrize(
    ("loader", "expected"),
    [
        (lambda: DataLoader(Images(), BATCH, shuffle=True), (480, 480, 480)),
        (lambda: DataLoader(Images(), BATCH, sampler=SubsetRandomSampler(range(48))), (48, 48, 480)),
        (lambda: DataLoader(Images(), BATCH, sampler=SubsetRandomSampler(range(432))), (432, 432, 480)),
        (lambda: DataLoader(Images(), BATCH, sampler=repeated()), (480, 160, 480)),
        (lambda: DataLoader(Images(), BATCH, sampler=DistributedSampler(Images(), 4, 0)), (120, 120, 480)),
        (lambda: DataLoader(Subset(Images(), range(24)), BATCH, sampler=RandomSampler(range(24), True, 480)), None),
        (lambda: DataLoader(Images(), BATCH, sampler=balanced()), None),
    ],
    ids=["shuffled", "tenth", "fold", "repeated", "distributed", "few-shot subset", "balanced"],
)
def test_subsets_and_samplers_that_repeat_are_clear(tmp_path: Path, loader: Any, expected: Any) -> None:
    torch.manual_seed(0)
    hook = train(tmp_path, loader())
    loop = hook.tape.context.loop
    assert expected is None or (loop.epoch_draws, loop.epoch_images, loop.dataset_images) == expected
    assert "again and again" not in causes(hook, "CheckInputImages")


def test_a_sampler_without_an_end_and_a_loader_per_step_are_clear(tmp_path: Path) -> None:
    endless = train(tmp_path / "endless", DataLoader(Images(), BATCH, sampler=Forever()), epochs=1, batches=60)
    assert endless.tape.context.loop.epoch_images == TRAIN
    loader = DataLoader(Images(), BATCH, shuffle=True)
    fresh = train(tmp_path / "fresh", (next(iter(loader)) for _ in range(20)), epochs=1)
    assert fresh.tape.context.loop.epoch_draws == BATCH
    assert [causes(hook, "CheckInputImages") for hook in (endless, fresh)] == ["", ""]


class ByName(Images):
    """A dataset whose keys are names."""

    def __getitem__(self, place: Any) -> tuple[Tensor, Tensor]:
        return super().__getitem__(int(str(place).removeprefix("image")))


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(digits(0, TRAIN))  # type: ignore[call-overload,no-any-return]


class OnceReadable(Sampler[Any]):
    """A batch sampler whose batches can be read once."""

    def __iter__(self) -> Iterator[Any]:
        return (iter(batch) for batch in BatchSampler(SequentialSampler(range(TRAIN)), BATCH, False))


class ByPair(Images):
    """A dataset whose keys are an index and something else."""

    def __getitem__(self, place: Any) -> tuple[Tensor, Tensor]:
        return super().__getitem__(place[0])


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(ByName(), BATCH, sampler=[f"image{place}" for place in range(TRAIN)]),
        DataLoader(ByPair(), BATCH, sampler=[(place, 0) for place in range(TRAIN)]),
        DataLoader(Stream(), BATCH),
        DataLoader(Images(), batch_sampler=OnceReadable()),
    ],
    ids=["names", "pairs", "stream", "read once"],
)
def test_indices_that_are_no_numbers_are_not_counted_and_not_touched(tmp_path: Path, loader: Any) -> None:
    loop = train(tmp_path, loader, epochs=1).tape.context.loop
    assert (loop.epoch_draws, loop.steps) == (0, TRAIN // BATCH)


# Epochs that end early


@pytest.mark.parametrize(("batches", "words"), [(3, "ended after 3 of the 20"), (1, "ended after 1 of the 20")])
def test_epochs_that_a_break_ends_early_are_named(tmp_path: Path, batches: int, words: str) -> None:
    hook = train(tmp_path, DataLoader(Images(), BATCH, shuffle=True), epochs=5, batches=batches)
    assert words in causes(hook, "CheckInputImages")


class Beside:
    """Batches of a small loader, each read beside one of a large loader, which is what the model gets."""

    def __init__(self) -> None:
        self._small = DataLoader(Subset(Images(), range(72)), BATCH, shuffle=True)
        self._large = DataLoader(Images(), BATCH, shuffle=True)

    def __iter__(self) -> Iterator[Any]:
        return (large for _, large in zip(self._small, self._large, strict=False))


@pytest.mark.parametrize(
    ("loader", "epochs", "batches"),
    [
        (DataLoader(Images(), BATCH, shuffle=True), 20, 4),  # four epochs of images: a fixed length may be meant
        (DataLoader(Images(), BATCH, shuffle=True), 5, 12),
        (Beside(), 5, 0),
    ],
    ids=["many", "more than half", "two loaders"],
)
def test_epochs_that_may_end_early_are_clear(tmp_path: Path, loader: Any, epochs: int, batches: int) -> None:
    hook = train(tmp_path, loader, epochs=epochs, batches=batches)
    assert "epochs ended after" not in causes(hook, "CheckInputImages")
    assert hook.tape.context.loop.iterations == epochs - 1


# Passes without a backward


def skipping(share: float) -> Step:
    """Return a step that skips this share of the batches, evenly."""
    draw = np.random.default_rng(0)

    def once(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
        loss = functional.cross_entropy(model(images), labels)
        if draw.random() < share:
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return once


def shuffled() -> DataLoader[Any]:
    return DataLoader(digits(0, TRAIN), BATCH, shuffle=True)


def test_batches_that_are_all_skipped_are_named_and_are_no_validation(tmp_path: Path) -> None:
    hook = train(tmp_path, shuffled(), skipping(1.0))
    assert hook.findings[0].rule == "UpdateMissing"
    assert "40 batches were run in train mode with gradients on, and neither" in hook.findings[0].cause
    assert not found(hook, "EvalModeMissing")


def test_a_large_share_of_skipped_batches_is_named_and_a_small_one_is_clear(tmp_path: Path) -> None:
    many, few = (train(tmp_path / str(share), shuffled(), skipping(share)) for share in (0.7, 0.2))
    assert "of 40 training batches were run, and neither" in causes(many, "UpdateMissing")
    assert many.tape.context.loop.skipped_batches + many.tape.context.loop.trained_batches == 40
    assert few.tape.context.loop.skipped_batches > 0
    assert not found(few, "UpdateMissing")


class Accumulated:
    """Adds up the losses of eight batches before a backward."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []

    def __call__(self, model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
        self._losses.append(functional.cross_entropy(model(images), labels))
        if len(self._losses) == 8:
            optimizer.zero_grad()
            torch.stack(self._losses).mean().backward()
            optimizer.step()
            self._losses.clear()


class Critic:
    """Steps a critic of the outputs in every batch, and the watched model in every fifth (Arjovsky et al. 2017)."""

    def __init__(self) -> None:
        self._critic, self._batches = nn.Linear(CLASSES, 1), 0
        self._optimizer = sgd(self._critic)

    def __call__(self, model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
        self._batches += 1
        self._optimizer.zero_grad()
        self._critic(model(images).detach()).mean().backward()
        self._optimizer.step()
        if self._batches % 5 == 0:
            ordinary(model, optimizer, images, labels)


def twice(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    """Run a batch for its hard images, three more times for nothing, and train on the hard ones."""
    losses = functional.cross_entropy(model(images), labels, reduction="none")
    hard = losses.topk(8).indices
    for _ in range(3):
        model(images)
    ordinary(model, optimizer, images[hard], labels[hard])


def evolved(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    """Change weights at random, as strategies without gradients do."""
    functional.cross_entropy(model(images), labels)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 1e-3 * torch.randn_like(weight)


@pytest.mark.parametrize(
    "once", [ordinary, Accumulated(), Critic(), twice, evolved], ids=["plain", "summed", "critic", "hard", "evolved"]
)
def test_passes_whose_backward_comes_later_or_is_not_needed_are_clear(tmp_path: Path, once: Step) -> None:
    hook = train(tmp_path, shuffled(), once)
    assert "were run" not in causes(hook, "UpdateMissing")
    assert not found(hook, "EvalModeMissing")


def test_a_script_that_only_evaluates_misses_no_update(tmp_path: Path) -> None:
    model = network()
    hook = Hook(tmp_path / "mine", quiet=True).watch(model)
    for images, labels in shuffled():
        functional.cross_entropy(model(images), labels)
    hook.close()
    assert not found(hook, "UpdateMissing")


def test_a_validation_before_the_training_is_none_of_it(tmp_path: Path) -> None:
    """As loops make it to see the accuracy of new weights, here with neither model.eval() nor torch.no_grad()."""
    model = network()
    optimizer, valid = sgd(model), DataLoader(digits(TRAIN, VALID), 40)
    hook = Hook(tmp_path / "mine", quiet=True).watch(model, optimizer=optimizer)
    for _ in range(3):
        for images, labels in valid:
            functional.cross_entropy(model(images), labels)
        for images, labels in shuffled():
            ordinary(model, optimizer, images, labels)
    hook.close()
    assert found(hook, "EvalModeMissing")
    assert not found(hook, "UpdateMissing")
    assert not found(hook, "DataLeak")


# Classes that training never draws


def labelled(change: Callable[[Tensor], Tensor]) -> DataLoader[Any]:
    images, labels = digits(0, TRAIN).tensors
    return DataLoader(TensorDataset(images, change(labels)), BATCH, shuffle=True)


def of_classes(*classes: int) -> DataLoader[Any]:
    images, labels = digits(0, TRAIN).tensors
    rows = torch.isin(labels, torch.tensor(classes))
    return DataLoader(TensorDataset(images[rows], labels[rows]), BATCH, shuffle=True)


@pytest.mark.parametrize(
    ("loader", "words"),
    [
        (of_classes(0, 1, 2), "of 160 validation images are of classes that none of"),
        (labelled(lambda labels: labels.bool().long()), "class 2 and class 3"),
    ],
    ids=["not drawn", "merged"],
)
def test_classes_that_only_validation_has_are_named(tmp_path: Path, loader: Any, words: str) -> None:
    hook = train(tmp_path, loader)
    assert words in causes(hook, "ValidationMismatch")
    assert hook.findings[0].rule == "ValidationMismatch"


def test_classes_of_both_splits_in_any_order_are_clear(tmp_path: Path) -> None:
    hook = train(tmp_path, labelled(lambda labels: labels))
    assert "none of" not in causes(hook, "ValidationMismatch")
