"""The loss is PyTorch's own where PyTorch has it, and exact over accumulated batches; mixing returns exact shares."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clearsight.training.loss import Target, balanced_weights, mix, weighted_loss


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(12, 4, generator=torch.Generator().manual_seed(0))


LABELS = torch.tensor([0, 1, 2, 3, 0, 0, 0, 1, 1, 2, 2, 0])
IMAGES = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 3, 16, 16).contiguous()  # image i is filled with i
NUMBERS = torch.arange(8)  # labels of IMAGES


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1.0, 2.0, 4.0])])
def test_equals_torch_with_class_weights(logits: torch.Tensor, weights: torch.Tensor | None) -> None:
    total, weight = weighted_loss(logits, Target(LABELS), weights, 0.0)
    assert torch.allclose(total / weight, F.cross_entropy(logits, LABELS, weight=weights))


def test_equals_torch_with_smoothing(logits: torch.Tensor) -> None:
    total, weight = weighted_loss(logits, Target(LABELS), None, 0.1)
    assert torch.allclose(total / weight, F.cross_entropy(logits, LABELS, label_smoothing=0.1))


def test_sums_over_unequal_batches_give_the_loss_of_the_whole(logits: torch.Tensor) -> None:
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0])
    parts = [weighted_loss(logits[a:b], Target(LABELS[a:b]), weights, 0.0) for a, b in ((0, 5), (5, 12))]
    whole, weight = weighted_loss(logits, Target(LABELS), weights, 0.0)
    assert torch.allclose((parts[0][0] + parts[1][0]) / (parts[0][1] + parts[1][1]), whole / weight)


def test_mixed_labels_are_the_mixture_of_both(logits: torch.Tensor) -> None:
    others, share = LABELS.flip(0), torch.full((12,), 0.3)
    total, weight = weighted_loss(logits, Target(LABELS, others, share), None, 0.0)
    expected = 0.3 * F.cross_entropy(logits, LABELS) + 0.7 * F.cross_entropy(logits, others)
    assert torch.allclose(total / weight, expected)


def test_balanced_weights_are_scikit_learns() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0] * 486 + [1] * 314)
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)
    assert balanced_weights(labels, 2) == pytest.approx(expected)
    assert balanced_weights(np.array([0, 0, 2]), 3)[1] == 0.0


def test_off_leaves_everything_as_it_is() -> None:
    images, target = mix(IMAGES, NUMBERS, 0, 0, np.random.default_rng(0))
    assert images is IMAGES
    assert target.others is None


def test_mixup_blends_by_the_share() -> None:
    images, target = mix(IMAGES, NUMBERS, 0.4, 0, np.random.default_rng(0))
    assert target.others is not None
    assert target.share is not None
    expected = target.share * NUMBERS + (1 - target.share) * target.others
    assert torch.allclose(images[:, 0, 3, 3], expected)


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_share_is_the_area_that_was_left(seed: int) -> None:
    images, target = mix(IMAGES, NUMBERS, 0, 1.0, np.random.default_rng(seed))
    assert target.others is not None
    assert target.share is not None
    for image, first_share, other, share in zip(images, NUMBERS, target.others, target.share, strict=True):
        assert set(image.unique().tolist()) <= {float(first_share), float(other)}
        if first_share != other:
            assert (image == first_share).float().mean() == pytest.approx(float(share))


def test_the_same_generator_gives_the_same_batch() -> None:
    first, _ = mix(IMAGES, NUMBERS, 0.4, 1.0, np.random.default_rng(7))
    second, _ = mix(IMAGES, NUMBERS, 0.4, 1.0, np.random.default_rng(7))
    assert torch.equal(first, second)
