"""Each head takes the steps of its own batch size, whatever the other sizes in the schedule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.training.heads.batch_schedule import BatchSchedule, odd_part

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
