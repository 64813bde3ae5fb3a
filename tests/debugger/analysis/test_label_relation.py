"""Labels of training without any relation to their images, and those that only seem so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from clearsight.debugger.analysis.label_relation import LabelRelation, label_relation, random_agreement
from tests.debugger.scenes import CLASSES, erased, mirrored, scenes, shifted, thumbnails


def shuffled(labels: Tensor) -> Tensor:
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(7))]


def relation(images: Tensor, labels: Tensor, *, valid: int = 160) -> LabelRelation | None:
    return label_relation(thumbnails(images, labels), thumbnails(*scenes(valid, seed=2)))


def test_labels_in_random_order_have_no_relation_to_the_images() -> None:
    images, labels = scenes(256, seed=1)
    found = relation(mirrored(images), shuffled(labels))
    assert found is not None
    assert not found.related
    assert found.valid > found.chance + 0.2
    assert found.across == pytest.approx(found.chance, abs=0.08)


@pytest.mark.parametrize("change", [None, mirrored, shifted, erased])
def test_right_labels_are_related(change: object) -> None:
    images, labels = scenes(256, seed=1)
    found = relation(change(images) if callable(change) else images, labels)
    assert found is None or found.related


def test_half_of_the_labels_being_wrong_is_a_relation() -> None:
    images, labels = scenes(256, seed=1)
    found = relation(images, torch.where(torch.arange(256) % 2 == 0, labels, shuffled(labels)))
    assert found is not None
    assert found.related


def test_nothing_is_said_where_validation_labels_cannot_be_predicted_either() -> None:
    images, labels = scenes(256, seed=1)
    valid, valid_labels = scenes(160, seed=2)
    assert label_relation(thumbnails(images, shuffled(labels)), thumbnails(valid, shuffled(valid_labels))) is None


def test_nothing_is_said_of_images_whose_augmentation_leaves_nothing_of_them() -> None:
    images, labels = scenes(256, seed=1)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(3))
    assert relation(4 * noise, labels) is None


@pytest.mark.parametrize(("train", "valid"), [(80, 160), (256, 60)])
def test_nothing_is_said_of_few_images(train: int, valid: int) -> None:
    images, labels = scenes(train, seed=1)
    assert relation(images, shuffled(labels), valid=valid) is None


def test_nothing_is_said_of_labels_of_another_task_or_of_unknown_ones() -> None:
    images, labels = scenes(256, seed=1)
    assert relation(images, shuffled(labels) + CLASSES) is None
    assert label_relation(thumbnails(images), thumbnails(*scenes(160, seed=2))) is None


def test_predictions_agree_with_random_labels_as_often_as_their_shares_say() -> None:
    draw = np.random.default_rng(0)
    labels, always_first = draw.choice(4, 400, p=[0.7, 0.1, 0.1, 0.1]), np.zeros(400, np.int64)
    assert random_agreement(always_first, labels)
    assert not random_agreement(np.where(draw.random(400) < 0.3, labels, draw.integers(0, 4, 400)), labels)
