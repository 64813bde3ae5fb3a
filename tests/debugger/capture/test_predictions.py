"""BatchPredictions: predictions of a classifier, and outputs that are no classification."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from clearsight.core.tensors import Moment, PredictionRecord, SavedRecord
from clearsight.debugger.capture.predictions import (
    BatchPredictions,
    label_below_others,
    output_range,
    pulled_to_one_label,
)
from clearsight.debugger.capture.transfer import RecordSender

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def test_a_batch_has_predictions_confidence_and_the_probability_of_the_label() -> None:
    batch = BatchPredictions.of(LOGITS, torch.tensor([1, 1]), [4, 5])
    assert batch is not None
    records: list[SavedRecord] = []
    RecordSender(records.append).predictions(Moment("train", 1, 1, 1), batch.columns())
    (record,) = records
    assert isinstance(record, PredictionRecord)
    shares = LOGITS.softmax(1).numpy()
    assert record.predictions.tolist() == [0, 1]
    np.testing.assert_allclose(record.confidence, shares.max(1))
    np.testing.assert_allclose(record.true_probability, shares[:, 1])
    assert record.indices.tolist() == [4, 5]
    assert batch.accuracy() == 0.5
    assert batch.loss().item() == pytest.approx(functional.cross_entropy(LOGITS, torch.tensor([1, 1])).item())


def test_labels_may_be_shares_of_classes() -> None:
    batch = BatchPredictions.of(LOGITS, torch.tensor([[0.2, 0.8, 0.0], [0.9, 0.1, 0.0]]))
    assert batch is not None
    assert batch.labels.tolist() == [1, 0]
    assert batch.indices.tolist() == [-1, -1]


def test_shares_without_a_largest_one_are_no_label() -> None:
    batch = BatchPredictions.of(LOGITS, torch.tensor([[0.1, 0.45, 0.45], [0.2, 0.2, 0.6]]))
    assert batch is not None
    assert batch.labels.tolist() == [-100, 2]


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([[0.1, 0.45, 0.45], [0.45, 0.1, 0.45]], True),
        ([[0.1, 0.45, 0.45], [0.9, 0.05, 0.05]], False),
        ([[1 / 3, 1 / 3, 1 / 3], [1 / 3, 1 / 3, 1 / 3]], False),
        ([[0.5, 0.5], [0.1, 0.9]], None),
    ],
)
def test_a_label_with_less_than_all_others_is_told_from_smoothing(
    shares: list[list[float]], expected: bool | None
) -> None:
    below = label_below_others(torch.tensor(shares))
    assert (below if below is None else bool(below)) is expected


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (torch.zeros(4, 1), torch.zeros(4, dtype=torch.long)),
        (torch.zeros(4, 3, 8, 8), torch.zeros(4, 8, 8, dtype=torch.long)),
        (torch.zeros(4, 3), torch.zeros(5, dtype=torch.long)),
        (torch.zeros(4, 3), torch.zeros(4)),
        (torch.zeros(4, 3, dtype=torch.long), torch.zeros(4, dtype=torch.long)),
    ],
)
def test_what_is_no_classification_is_none(logits: torch.Tensor, labels: torch.Tensor) -> None:
    assert BatchPredictions.of(logits, labels) is None


def test_the_range_tells_probabilities_from_logits() -> None:
    low, high, mean, spread = output_range(LOGITS.softmax(1)).tolist()
    assert 0 <= low < high <= 1
    assert (mean, spread) == (pytest.approx(1), pytest.approx(0, abs=1e-6))


@pytest.mark.parametrize("weighs", [0.0, 2.0])
@pytest.mark.parametrize("broadcast", [True, False])
def test_a_loss_that_compares_every_output_with_every_label_shows_in_the_gradient(
    broadcast: bool, weighs: float
) -> None:
    """The focal loss of Lin et al. 2017, equation 4; without weights it is the binary cross entropy."""
    draw = torch.Generator().manual_seed(0)
    found = []
    for _ in range(20):
        logits = (2 * torch.randn(32, generator=draw)).requires_grad_()
        labels = (torch.rand(32, generator=draw) < 0.5).float()
        share = torch.sigmoid(logits[:, None] if broadcast else logits)
        losses = labels * (1 - share) ** weighs * share.log() + (1 - labels) * share**weighs * (1 - share).log()
        losses.mean().neg().backward()
        assert logits.grad is not None
        shares = torch.sigmoid(logits.detach()).double().numpy()
        found.append(pulled_to_one_label(shares, logits.grad.double().numpy()))
    assert sum(found) >= 16 if broadcast else not any(found)
