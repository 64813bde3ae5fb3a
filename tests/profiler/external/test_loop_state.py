"""OptimizerCycle: how many steps of optimizers make a training step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clearsight.profiler.external.loop_state import AfterUpdate, OptimizerCycle


def test_one_optimizer_ends_each_step() -> None:
    cycle = OptimizerCycle()
    for _ in range(3):
        assert cycle.updated() is AfterUpdate.ENDED
        assert not cycle.over()


def test_the_second_of_two_optimizers_is_late_once() -> None:
    cycle = OptimizerCycle()
    assert [cycle.updated(), cycle.updated(), cycle.over()] == [AfterUpdate.ENDED, AfterUpdate.LATE, False]
    assert [cycle.updated(), cycle.updated(), cycle.over()] == [AfterUpdate.WAITS, AfterUpdate.ENDED, False]


def test_a_step_ends_late_where_an_expected_optimizer_does_not_follow() -> None:
    cycle = OptimizerCycle()
    assert [cycle.updated(), cycle.updated(), cycle.over()] == [AfterUpdate.ENDED, AfterUpdate.LATE, False]
    assert [cycle.updated(), cycle.over()] == [AfterUpdate.WAITS, True]
    assert cycle.updated() is AfterUpdate.ENDED


def test_passes_without_an_update_end_nothing() -> None:
    cycle = OptimizerCycle()
    assert not cycle.over()
    cycle.updated()
    cycle.restart()
    assert not cycle.over()
    assert cycle.updated() is AfterUpdate.ENDED


@given(st.lists(st.integers(0, 4), max_size=30))
def test_every_cycle_with_an_update_ends_exactly_one_step(sizes: list[int]) -> None:
    cycle = OptimizerCycle()
    for size in sizes:
        ended = sum(cycle.updated() is AfterUpdate.ENDED for _ in range(size)) + cycle.over()
        assert ended == (1 if size else 0)
