"""A group of heads gets the images of an epoch in its order, however they are gathered."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from clearsight.training.batches import Order
from clearsight.training.heads import rows as module
from clearsight.training.heads.job import HeadData
from clearsight.training.heads.rows import RowCache

IMAGES, WIDTH, VIEWS = 11, 3, 2


def shuffled(seed: int) -> Order:
    return lambda epoch: np.random.default_rng([seed, epoch]).permutation(IMAGES)


def repeated(seed: int) -> Order:
    """Some images twice, others not at all."""
    return lambda epoch: np.random.default_rng([seed, epoch]).integers(IMAGES, size=IMAGES + 4)


def data(dtype: torch.dtype = torch.float32, order: Callable[[int], Order] = shuffled) -> HeadData:
    views = torch.arange(VIEWS * IMAGES * WIDTH, dtype=dtype).view(VIEWS, IMAGES, WIDTH)
    labels = np.arange(IMAGES) % 4
    return HeadData(views=views, labels=labels, order=order, classes=4, valid=(views[0], labels))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("order", [shuffled, repeated])
@pytest.mark.parametrize("limit", [1 << 28, 0], ids=["at once", "piece by piece"])
@pytest.mark.parametrize("size", [1, 4, 11, 64])
def test_pieces_are_the_images_in_order(
    dtype: torch.dtype, order: Callable[[int], Order], limit: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_COPY_BYTES", limit)
    features = data(dtype, order)
    rows = RowCache(features)
    for epoch in (1, 2, 3):
        seen = rows.of(epoch, seed=5)
        expected = torch.from_numpy(features.order(5)(epoch))
        view = features.views[(epoch - 1) % VIEWS].float()
        bounds = [*range(0, len(expected), size), len(expected)]
        pieces = list(seen.pieces(bounds))
        assert [len(inputs) for inputs, _ in pieces] == [end - begin for begin, end in pairwise(bounds)]
        assert all(inputs.dtype == torch.float32 for inputs, _ in pieces)
        assert torch.equal(torch.cat([inputs for inputs, _ in pieces]), view[expected])
        assert torch.equal(torch.cat([labels for _, labels in pieces]), expected % 4)


def test_groups_of_one_seed_share_an_epoch() -> None:
    rows = RowCache(data())
    first = rows.of(1, seed=0)
    assert rows.of(1, seed=0) is first
    assert rows.of(2, seed=0) is not first
    assert rows.of(2, seed=1).labels.tolist() != rows.of(2, seed=0).labels.tolist()


def test_validation_is_made_ready_once() -> None:
    features = data(torch.float16)
    rows = RowCache(features)
    assert rows.valid is not None
    assert rows.valid[0].dtype == torch.float32
    assert torch.equal(rows.valid[0], features.views[0].float())
