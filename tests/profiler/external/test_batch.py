"""BatchInfo: facts about a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from clearsight.profiler.external.batch import BatchInfo


def test_a_batch_of_images_and_labels() -> None:
    loader = iter(DataLoader(TensorDataset(torch.zeros(6, 3, 4, 4), torch.zeros(6)), batch_size=4))
    first = BatchInfo.of(next(loader), loader)
    assert (first.size, first.bytes, first.first, first.workers, first.prefetch) == (4, 4 * (48 + 1) * 4, True, 0, 0)
    assert first.images is not None
    assert first.images.shape == (4, 3, 4, 4)
    second = BatchInfo.of(next(loader), loader)
    assert (second.size, second.first) == (2, False)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"image": torch.zeros(5, 2), "label": torch.zeros(5)}, 5),
        ([torch.tensor(1.0), (torch.zeros(3, 2),)], 3),
        ("nothing", 0),
        ([], 0),
        (torch.zeros(0, 3), 0),
    ],
)
def test_batches_of_other_shapes(value: object, size: int) -> None:
    assert BatchInfo.of(value, object()).size == size


@pytest.mark.parametrize(
    "tensor", [torch.zeros(2, 1, 4, 4), torch.zeros(2, 3, 4, 4, dtype=torch.bfloat16), torch.zeros(2, 3)]
)
def test_tensors_that_are_no_images(tensor: torch.Tensor) -> None:
    assert BatchInfo.of(tensor, object()).images is None


def test_images_are_not_copied() -> None:
    tensor = torch.zeros(2, 3, 4, 4)
    images = BatchInfo.of(tensor, object()).images
    assert images is not None
    assert np.shares_memory(images, tensor.numpy())
