"""StepClock tells where steps spend their time, and never disturbs a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.core.profile import PHASES, StepTimes
from clearsight.profiler.timing.step_timer import StepTimer
from tests.profiler.hands import START, TICK, Hands, hands, ticks, work


@pytest.fixture
def at() -> Iterator[Hands]:
    with hands() as clock:
        yield clock


# Steps and phases


def test_a_step_goes_from_its_first_phase_to_its_end(at: Hands) -> None:
    clock = StepTimer(None, rank=3)
    at.wait(7)
    work(clock, at, data=2, forward=3)
    at.wait(4)
    clock.step(1, 1, 32)
    assert clock.steps == [
        StepTimes(
            step=1,
            epoch=1,
            start=START + 7 * TICK,
            seconds=9 * TICK,
            samples=32,
            phases={"data": 2 * TICK, "forward": 3 * TICK},
            rank=3,
        )
    ]


def test_time_between_two_steps_is_in_neither(at: Hands) -> None:
    clock = StepTimer(None)
    work(clock, at, data=2)
    clock.step(1, 1, 1)
    at.wait(50)
    work(clock, at, data=2)
    clock.step(2, 1, 1)
    assert [times.seconds / TICK for times in clock.steps] == [2, 2]
    assert (clock.steps[1].start - START) / TICK == 52


def test_a_phase_inside_another_has_its_own_time(at: Hands) -> None:
    clock = StepTimer(None)
    with clock.phase("data"):
        at.wait(1)
        with clock.phase("transfer"):
            at.wait(10)
        at.wait(2)
    clock.step(1, 1, 1)
    assert ticks(clock.steps[0].phases) == {"data": 3, "transfer": 10}


def test_a_phase_that_comes_twice_is_one_sum(at: Hands) -> None:
    clock = StepTimer(None)
    work(clock, at, forward=1)
    work(clock, at, forward=2)
    clock.step(1, 1, 1)
    assert ticks(clock.steps[0].phases) == {"forward": 3}


Tree = tuple[str, int, list[Any], int]
trees = st.lists(
    st.recursive(
        st.tuples(st.sampled_from(PHASES), st.integers(0, 5), st.just([]), st.integers(0, 5)),
        lambda inner: st.tuples(st.sampled_from(PHASES), st.integers(0, 5), st.lists(inner, max_size=3), st.just(1)),
        max_leaves=6,
    ),
    min_size=1,
    max_size=4,
)


def walk(clock: StepTimer, at: Hands, tree: Tree, sums: dict[str, float]) -> None:
    """Do what the tree says and add up who took what."""
    name, before, inner, after = tree
    with clock.phase(name):
        at.wait(before)
        for one in inner:
            walk(clock, at, one, sums)
        at.wait(after)
    sums[name] = sums.get(name, 0) + before + after


@given(steps=st.lists(trees, min_size=1, max_size=3), rest=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_phases_nested_anyhow_share_the_step_among_them(steps: list[list[Tree]], rest: int) -> None:
    with hands() as at:
        clock, expected = StepTimer(None), []
        for number, phases in enumerate(steps, 1):
            sums: dict[str, float] = {}
            for tree in phases:
                walk(clock, at, tree, sums)
            at.wait(rest)
            clock.step(number, 1, 1)
            expected.append(sums)
    assert [ticks(times.phases) for times in clock.steps] == expected
    for times in clock.steps:
        assert times.seconds == sum(times.phases.values()) + rest * TICK


@given(does=st.lists(st.sampled_from(["in", "out", "step", "cut", "stretch", "wait"]), max_size=40))
@settings(max_examples=60, deadline=None)
def test_whatever_the_order_of_calls_no_time_is_invented(does: list[str]) -> None:
    with hands() as at:
        clock, opened, number = StepTimer(None), [], 0
        for what in does:
            if what == "in":
                opened.append(clock.phase(PHASES[len(opened) % 3]))
                opened[-1].__enter__()
            elif what == "out" and opened:
                opened.pop(0).__exit__(None, None, None)  # the outermost first: as no with-statement does
            elif what == "step":
                number += 1
                clock.step(number, 1, 1)
            elif what == "cut":
                clock.cut()
            elif what == "stretch":
                with clock.stretch("validation", number, 1):
                    at.wait(3)
            at.wait(1)
    assert clock.failure == ""
    for times in clock.steps:
        assert all(seconds >= 0 for seconds in times.phases.values())
        assert sum(times.phases.values()) <= times.seconds
    ends = [(times.start, times.start + times.seconds) for times in clock.steps]
    assert all(end <= start for (_, end), (start, _) in pairwise(ends))


def test_a_phase_that_fails_ends_all_the_same(at: Hands) -> None:
    clock = StepTimer(None)

    def fail() -> None:
        with clock.phase("forward"):
            at.wait(2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    work(clock, at, backward=1)
    clock.step(1, 1, 1)
    assert ticks(clock.steps[0].phases) == {"forward": 2, "backward": 1}


def test_a_step_that_ends_inside_a_phase_gives_the_rest_to_nobody(at: Hands) -> None:
    clock = StepTimer(None)
    with clock.phase("optimizer"):
        at.wait(2)
        clock.step(1, 1, 1)
        at.wait(30)
    work(clock, at, data=1)
    clock.step(2, 1, 1)
    assert [ticks(times.phases) for times in clock.steps] == [{"optimizer": 2}, {"data": 1}]
    assert clock.steps[1].seconds == TICK


def test_steps_without_phases_reach_back_to_the_one_before(at: Hands) -> None:
    clock = StepTimer(None)
    for number in (1, 2, 3):
        at.wait(5)
        clock.step(number, 1, 1)
    assert [(times.step, times.seconds / TICK) for times in clock.steps] == [
        (2, 5),
        (3, 5),
    ]  # of the 1st nothing is known


def test_a_cut_lets_nothing_reach_back(at: Hands) -> None:
    clock = StepTimer(None)
    clock.step(1, 1, 1)
    work(clock, at, data=4)  # a wait for a batch that never came
    clock.cut()
    clock.step(2, 1, 1)
    at.wait(2)
    clock.step(3, 1, 1)
    assert [(times.step, times.seconds / TICK, times.phases) for times in clock.steps] == [(3, 2, {})]


def test_times_never_jump_with_the_time_of_day(at: Hands) -> None:
    clock = StepTimer(None)
    at.time = lambda: 0.0  # type: ignore[method-assign] # somebody sets the machine's clock
    work(clock, at, data=1)
    clock.step(1, 1, 1)
    assert clock.steps[0].start == START


# What is between steps


def test_a_stretch_is_a_span_and_phases_in_it_count_nowhere(at: Hands) -> None:
    clock = StepTimer(None, rank=1)
    work(clock, at, data=1)
    clock.step(4, 2, 1)
    with clock.stretch("validation", 4, 2):
        work(clock, at, transfer=5)
        at.wait(1)
    work(clock, at, data=2)
    clock.step(5, 3, 1)
    (span,) = clock.spans
    assert (span.name, span.step, span.epoch, span.rank) == ("validation", 4, 2, 1)
    assert (span.start - START, span.seconds) == (TICK, 6 * TICK)
    assert ticks(clock.steps[1].phases) == {"data": 2}
    assert clock.steps[1].seconds == 2 * TICK


def test_initialisation_lasts_from_the_launch_to_the_first_phase_and_comes_once(at: Hands) -> None:
    clock = StepTimer(None, launched=START - 5, done=40)
    with clock.stretch("checkpoint", 0, 0):
        work(clock, at, transfer=1024)
    at.wait(1024)
    work(clock, at, data=1)
    clock.step(41, 1, 1)
    work(clock, at, data=1)
    (span,) = [span for span in clock.spans if span.name == "initialisation"]
    assert (span.start, span.seconds, span.step) == (START - 5, 7.0, 40)


# What else a step is told with


def test_load_is_what_readers_spent_since_the_step_before(at: Hands) -> None:
    sums = {"decode": 5.0, "read": 0.0, "images": 8.0}
    clock = StepTimer(None, loads=lambda: sums)
    sums.update(decode=5.5, images=16.0)
    work(clock, at, data=1)
    clock.step(1, 1, 1)
    work(clock, at, data=1)
    clock.step(2, 1, 1)
    sums.update(read=0.25)
    clock.step(3, 1, 1)
    assert [times.load for times in clock.steps] == [
        {"decode": 0.5, "images": 8.0},  # nothing was ever read: not known
        {"decode": 0.0, "images": 0.0},
        {"decode": 0.0, "images": 0.0, "read": 0.25},
    ]


def test_borders_are_looked_at_in_the_first_and_every_50th_batch_after(at: Hands) -> None:
    clock = StepTimer(None)
    images = np.random.default_rng(0).integers(1, 255, (16, 8, 8, 3), np.uint8)
    images[:, :2] = 0
    with clock.stretch("validation", 0, 0):
        clock.note_images(images)
    for number in range(1, 102):
        with clock.phase("data"):
            clock.note_images(images)
        clock.step(number, 1, 16)
    assert {times.step: times.padding for times in clock.steps if times.padding is not None} == {
        1: 0.25,
        51: 0.25,
        101: 0.25,
    }


def test_looking_at_images_is_not_taken_for_waiting(at: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(_: object) -> float:
        at.wait(6)
        return 0.0

    monkeypatch.setattr("clearsight.profiler.timing.step_timer.border_share", slow)
    clock = StepTimer(None)
    with clock.phase("data"):
        at.wait(1)
        clock.note_images(np.zeros((2, 4, 4, 3), np.uint8))
    clock.step(1, 1, 2)
    assert ticks(clock.steps[0].phases) == {"data": 1, "hook": 6}


def test_phases_show_in_a_trace_while_there_is_one(at: Hands) -> None:
    said: list[str] = []

    @contextmanager
    def shown(name: str) -> Iterator[None]:
        said.append(f"{name} begins")
        yield
        said.append(f"{name} ends")

    clock = StepTimer(None)
    work(clock, at, data=1)
    clock.annotate = shown
    with clock.phase("data"):
        work(clock, at, transfer=1)
    with clock.phase("optimizer"):
        clock.step(1, 1, 1)  # closes what is open
        clock.annotate = None
    work(clock, at, data=1)
    names = ["data begins", "transfer begins", "transfer ends", "data ends", "optimizer begins", "optimizer ends"]
    assert said == names
