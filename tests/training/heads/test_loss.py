"""Loss and gradient of a stack are those of `training.loss` for each head, computed once for every image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clearsight.core.recipe import Recipe, TrainSection
from clearsight.training.heads import loss as module
from clearsight.training.heads.loss import LogitsBuffer, StackedLoss
from clearsight.training.heads.rows import BatchSchedule
from clearsight.training.loss import Target, balanced_weights, weighted_loss

CLASSES = 4
LABELS = np.array([0] * 10 + [1] * 5 + [3] * 2)  # nobody is a 2
HEADS = 3
EPOCH = torch.arange(23) % CLASSES  # labels
BATCH = torch.tensor([0, 0, 1, 3, 1, 0, 3])


def section(**settings: Any) -> TrainSection:
    return Recipe().replace(**settings).train


def stacked(*recipes: TrainSection) -> StackedLoss:
    return StackedLoss(recipes, LABELS, CLASSES, torch.device("cpu"))


def of(loss: StackedLoss, logits: Tensor) -> tuple[list[float], Tensor]:
    """Mean loss of each head on the batch, and the slopes, from logits (B, K, C)."""
    heads, every = logits.shape[1], slice(0, logits.shape[1])
    (totals,) = loss.totals(BATCH, BatchSchedule([64] * heads, len(BATCH)))
    slopes = loss.slopes(logits, BATCH, totals)
    return list(loss.means(loss.each(logits, BATCH), BATCH, every, [0])[0]), slopes


def loop_loss(section: TrainSection, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss of logits (B, C), and its slope."""
    logits = logits.clone().requires_grad_()
    weights = torch.from_numpy(balanced_weights(LABELS, CLASSES)) if section.class_weights == "balanced" else None
    total, weight = weighted_loss(logits, Target(BATCH), weights, section.label_smoothing)
    mean = total / weight
    (slope,) = torch.autograd.grad(mean, logits)
    return mean.detach(), slope


RECIPES = (
    section(),
    section(label_smoothing=0.2),
    section(class_weights="balanced"),
    section(class_weights="balanced", label_smoothing=0.1),
)


@pytest.mark.parametrize("chosen", [(0,), (1,), (2,), (3,), (0, 1), (0, 2), (0, 1, 2, 3)], ids=str)
def test_loss_and_slope_are_those_of_each_head(chosen: tuple[int, ...]) -> None:
    logits = torch.randn(len(BATCH), len(chosen), CLASSES, generator=torch.Generator().manual_seed(0)) * 3
    recipes = [RECIPES[index] for index in chosen]
    losses, slopes = of(stacked(*recipes), logits)
    for index, section in enumerate(recipes):
        loss, slope = loop_loss(section, logits[:, index])
        assert losses[index] == pytest.approx(float(loss), rel=1e-6)
        assert torch.allclose(slopes[:, index], slope, atol=1e-7)


def test_an_epoch_is_summed_up_by_its_batches() -> None:
    losses = torch.rand(len(BATCH), len(RECIPES), generator=torch.Generator().manual_seed(0))
    means = stacked(*RECIPES).means(losses, BATCH, slice(0, len(RECIPES)), [0, 3, 6])
    assert means.shape == (3, len(RECIPES))
    for head, section in enumerate(RECIPES):
        weights = balanced_weights(LABELS, CLASSES) if section.class_weights == "balanced" else np.ones(CLASSES)
        for row, part in enumerate((slice(0, 3), slice(3, 6), slice(6, 7))):
            expected = np.average(losses[part, head].numpy(), weights=weights[BATCH[part].numpy()])
            assert means[row, head] == pytest.approx(expected, rel=1e-6)


def test_a_batch_in_pieces_has_the_weights_of_all_of_it() -> None:
    """Slopes of its pieces, each over the total of the batch, are the slopes of the batch."""
    logits = torch.randn(len(BATCH), 2, CLASSES, generator=torch.Generator().manual_seed(0))
    loss = stacked(RECIPES[3], RECIPES[3])
    pace = BatchSchedule([2, 8], len(BATCH))
    totals = loss.totals(BATCH, pace)
    parts = [
        loss.slopes(logits[a:b], BATCH[a:b], total)
        for a, b, total in zip(pace.bounds, pace.bounds[1:], totals, strict=False)
    ]
    _, slope = loop_loss(RECIPES[3], logits[:, 1])
    assert torch.allclose(torch.cat(parts)[:, 1], slope, atol=1e-7)


def test_heads_that_stay_keep_weights_and_smoothing() -> None:
    logits = torch.randn(len(BATCH), 2, CLASSES, generator=torch.Generator().manual_seed(0))
    loss = stacked(*RECIPES)
    loss.only([3, 1])
    losses, slopes = of(loss, logits)
    for index, section in enumerate((RECIPES[3], RECIPES[1])):
        mean, slope = loop_loss(section, logits[:, index])
        assert losses[index] == pytest.approx(float(mean), rel=1e-6)
        assert torch.allclose(slopes[:, index], slope, atol=1e-7)


def test_an_impossible_class_matters_only_where_it_is_a_target() -> None:
    """0 times the logarithm of 0 would be no number, and the head would end a step too early."""
    logits = torch.zeros(len(BATCH), 4, CLASSES)
    logits[:, :2, 2] = -math.inf  # nobody's class
    logits[:, 2:, 0] = -math.inf
    losses, _ = of(stacked(*RECIPES), logits)
    assert losses == [pytest.approx(math.log(3)), math.inf, math.inf, math.inf]


@pytest.mark.parametrize("size", [1, 5, 23])
@pytest.mark.parametrize("max_bytes", [1, 4 * HEADS * CLASSES * 12, 1 << 20], ids=["a piece", "some pieces", "all"])
def test_the_buffer_has_losses_and_hits_in_order(size: int, max_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_BYTES", max_bytes)
    loss = StackedLoss([Recipe().train] * HEADS, EPOCH.numpy(), CLASSES, torch.device("cpu"))
    logits = torch.randn(len(EPOCH), HEADS, CLASSES, generator=torch.Generator().manual_seed(0))
    whole = logits.clone()
    buffer = LogitsBuffer(loss, EPOCH, HEADS, CLASSES, size)
    for piece in logits.split(size):
        buffer.add(piece)
        piece.zero_()  # the next step overwrites its logits
    buffer.flush()
    expected = torch.nn.functional.cross_entropy(
        whole.flatten(0, 1), EPOCH.repeat_interleave(HEADS), reduction="none"
    ).view(len(EPOCH), HEADS)
    assert torch.allclose(buffer.losses, expected, atol=1e-6)
    assert torch.equal(buffer.correct, whole.argmax(2) == EPOCH[:, None])
