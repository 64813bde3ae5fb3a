"""A group gets the images of an epoch in its order, and each head of it takes the steps of its own batch size."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clearsight.training.batches import Order
from clearsight.training.heads import rows as module
from clearsight.training.heads.job import HeadData
from clearsight.training.heads.rows import BatchSchedule, RowCache, odd_part

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


SIZES = st.tuples(st.integers(1, 15), st.lists(st.integers(0, 6), min_size=1, max_size=6)).map(
    lambda pair: sorted(pair[0] * 2**power for power in pair[1])
)


@pytest.mark.parametrize(
    ("size", "odd"), [(1, 1), (2, 1), (512, 1), (3, 3), (48, 3), (96, 3), (40, 5), (33, 33), (65_536, 1)]
)
def test_sizes_that_are_powers_of_two_apart_have_one_odd_part(size: int, odd: int) -> None:
    assert odd_part(size) == odd


def test_an_epoch_of_three_sizes() -> None:
    pace = BatchSchedule([2, 4, 4, 16], 11)
    assert pace.bounds == [0, 2, 4, 6, 8, 10, 11]
    assert pace.due == [1, 3, 1, 3, 1, 4]  # the last piece ends a batch of each
    assert pace.fresh == [4, 1, 3, 1, 3, 1]
    assert pace.steps == [6, 3, 3, 1]
    assert pace.number.T.tolist() == [[0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2], [0] * 6]
    assert pace.lengths.T.tolist() == [[2, 2, 2, 2, 2, 1], [4, 4, 4, 4, 3, 3], [4, 4, 4, 4, 3, 3], [11] * 6]
    assert [(heads.start, heads.stop, begins) for heads, begins in pace.runs()] == [
        (0, 1, [0, 2, 4, 6, 8, 10]),
        (1, 3, [0, 4, 8]),
        (3, 4, [0]),
    ]


@given(sizes=SIZES, count=st.integers(1, 200))
def test_each_head_has_the_batches_that_it_has_alone(sizes: list[int], count: int) -> None:
    pace, edges = BatchSchedule(sizes, count), []
    for head, size in enumerate(sizes):
        ends = [end for end, due in zip(pace.bounds[1:], pace.due, strict=True) if head < due]
        begins = [begin for begin, fresh in zip(pace.bounds, pace.fresh, strict=False) if head < fresh]
        assert begins == list(range(0, count, size))
        assert ends == [*begins[1:], count]
        assert pace.steps[head] == len(begins)
        edges.append((begins, ends))
        for piece, (begin, end) in enumerate(zip(pace.bounds, pace.bounds[1:], strict=False)):
            batch = pace.number[piece, head]
            assert begins[batch] <= begin < end <= ends[batch]
            assert pace.lengths[piece, head] == ends[batch] - begins[batch]
    for heads, begins in pace.runs():
        assert all(edges[head][0] == begins for head in range(heads.start, heads.stop))
    assert np.diff(pace.bounds).max() <= pace.size
