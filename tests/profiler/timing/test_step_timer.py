"""StepTimer: where steps spend their time, without ever disturbing a training."""

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
from tests.profiler.manual_clock import START, TICK, ManualTime, manual_time, ticks, work


@pytest.fixture
def clock() -> Iterator[ManualTime]:
    with manual_time() as clock:
        yield clock


# Steps and phases


def test_a_step_lasts_from_its_first_phase_to_its_end(clock: ManualTime) -> None:
    timer = StepTimer(rank=3)
    clock.wait(7)
    work(timer, clock, data=2, forward=3)
    clock.wait(4)
    timer.step(1, 1, 32)
    assert timer.log.steps == [
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


def test_time_between_two_steps_is_in_neither(clock: ManualTime) -> None:
    timer = StepTimer()
    work(timer, clock, data=2)
    timer.step(1, 1, 1)
    clock.wait(50)
    work(timer, clock, data=2)
    timer.step(2, 1, 1)
    assert [times.seconds / TICK for times in timer.log.steps] == [2, 2]
    assert (timer.log.steps[1].start - START) / TICK == 52


def test_a_phase_inside_another_has_its_own_time(clock: ManualTime) -> None:
    timer = StepTimer()
    with timer.phase("data"):
        clock.wait(1)
        with timer.phase("transfer"):
            clock.wait(10)
        clock.wait(2)
    timer.step(1, 1, 1)
    assert ticks(timer.log.steps[0].phases) == {"data": 3, "transfer": 10}


def test_a_phase_that_occurs_twice_is_one_sum(clock: ManualTime) -> None:
    timer = StepTimer()
    work(timer, clock, forward=1)
    work(timer, clock, forward=2)
    timer.step(1, 1, 1)
    assert ticks(timer.log.steps[0].phases) == {"forward": 3}


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


def walk(timer: StepTimer, clock: ManualTime, tree: Tree, sums: dict[str, float]) -> None:
    """Run the phases of a tree and add up their own time."""
    name, before, inner, after = tree
    with timer.phase(name):
        clock.wait(before)
        for child in inner:
            walk(timer, clock, child, sums)
        clock.wait(after)
    sums[name] = sums.get(name, 0) + before + after


@given(steps=st.lists(trees, min_size=1, max_size=3), rest=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_nested_phases_and_the_rest_add_up_to_the_step(steps: list[list[Tree]], rest: int) -> None:
    with manual_time() as clock:
        timer, expected = StepTimer(), []
        for number, phases in enumerate(steps, 1):
            sums: dict[str, float] = {}
            for tree in phases:
                walk(timer, clock, tree, sums)
            clock.wait(rest)
            timer.step(number, 1, 1)
            expected.append(sums)
    assert [ticks(times.phases) for times in timer.log.steps] == expected
    for times in timer.log.steps:
        assert times.seconds == sum(times.phases.values()) + rest * TICK


@given(calls=st.lists(st.sampled_from(["in", "out", "step", "cut", "span", "wait"]), max_size=40))
@settings(max_examples=60, deadline=None)
def test_no_order_of_calls_invents_time(calls: list[str]) -> None:
    with manual_time() as clock:
        timer, phases, number = StepTimer(), [], 0
        for call in calls:
            if call == "in":
                phases.append(timer.phase(PHASES[len(phases) % 3]))
                phases[-1].__enter__()
            elif call == "out" and phases:
                phases.pop(0).__exit__(None, None, None)  # the outermost first, which no with statement does
            elif call == "step":
                number += 1
                timer.step(number, 1, 1)
            elif call == "cut":
                timer.cut()
            elif call == "span":
                with timer.span("validation", number, 1):
                    clock.wait(3)
            clock.wait(1)
    assert timer.failure == ""
    for times in timer.log.steps:
        assert all(seconds >= 0 for seconds in times.phases.values())
        assert sum(times.phases.values()) <= times.seconds
    ends = [(times.start, times.start + times.seconds) for times in timer.log.steps]
    assert all(end <= start for (_, end), (start, _) in pairwise(ends))


def test_a_phase_that_raises_ends_too(clock: ManualTime) -> None:
    timer = StepTimer()

    def fail() -> None:
        with timer.phase("forward"):
            clock.wait(2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    work(timer, clock, backward=1)
    timer.step(1, 1, 1)
    assert ticks(timer.log.steps[0].phases) == {"forward": 2, "backward": 1}


def test_time_of_a_phase_after_the_end_of_its_step_counts_nowhere(clock: ManualTime) -> None:
    timer = StepTimer()
    with timer.phase("optimizer"):
        clock.wait(2)
        timer.step(1, 1, 1)
        clock.wait(30)
    work(timer, clock, data=1)
    timer.step(2, 1, 1)
    assert [ticks(times.phases) for times in timer.log.steps] == [{"optimizer": 2}, {"data": 1}]
    assert timer.log.steps[1].seconds == TICK


def test_steps_without_phases_reach_back_to_the_one_before(clock: ManualTime) -> None:
    timer = StepTimer()
    for number in (1, 2, 3):
        clock.wait(5)
        timer.step(number, 1, 1)
    assert [(times.step, times.seconds / TICK) for times in timer.log.steps] == [
        (2, 5),
        (3, 5),
    ]  # the start of the first one is unknown


def test_no_step_reaches_back_over_a_cut(clock: ManualTime) -> None:
    timer = StepTimer()
    timer.step(1, 1, 1)
    work(timer, clock, data=4)  # the wait for a batch that did not come
    timer.cut()
    timer.step(2, 1, 1)
    clock.wait(2)
    timer.step(3, 1, 1)
    assert [(times.step, times.seconds / TICK, times.phases) for times in timer.log.steps] == [(3, 2, {})]


def test_times_never_jump_with_the_time_of_day(clock: ManualTime) -> None:
    timer = StepTimer()
    clock.time = lambda: 0.0  # type: ignore[method-assign]   # type: ignore[method-assign] # the machine's clock was set
    work(timer, clock, data=1)
    timer.step(1, 1, 1)
    assert timer.log.steps[0].start == START


# Spans between steps


def test_phases_in_a_span_count_nowhere(clock: ManualTime) -> None:
    timer = StepTimer(rank=1)
    work(timer, clock, data=1)
    timer.step(4, 2, 1)
    with timer.span("validation", 4, 2):
        work(timer, clock, transfer=5)
        clock.wait(1)
    work(timer, clock, data=2)
    timer.step(5, 3, 1)
    (span,) = timer.log.spans
    assert (span.name, span.step, span.epoch, span.rank) == ("validation", 4, 2, 1)
    assert (span.start - START, span.seconds) == (TICK, 6 * TICK)
    assert ticks(timer.log.steps[1].phases) == {"data": 2}
    assert timer.log.steps[1].seconds == 2 * TICK


def test_initialisation_lasts_from_the_launch_to_the_first_phase_and_is_logged_once(clock: ManualTime) -> None:
    timer = StepTimer(launched=START - 5, done=40)
    with timer.span("checkpoint", 0, 0):
        work(timer, clock, transfer=1024)
    clock.wait(1024)
    work(timer, clock, data=1)
    timer.step(41, 1, 1)
    work(timer, clock, data=1)
    (span,) = [span for span in timer.log.spans if span.name == "initialisation"]
    assert (span.start, span.seconds, span.step) == (START - 5, 7.0, 40)


# Load, padding and trace


def test_load_is_the_growth_of_the_loaders_sums_since_the_step_before(clock: ManualTime) -> None:
    sums = {"decode": 5.0, "read": 0.0, "images": 8.0}
    timer = StepTimer(loads=lambda: sums)
    sums.update(decode=5.5, images=16.0)
    work(timer, clock, data=1)
    timer.step(1, 1, 1)
    work(timer, clock, data=1)
    timer.step(2, 1, 1)
    sums.update(read=0.25)
    timer.step(3, 1, 1)
    assert [times.load for times in timer.log.steps] == [
        {"decode": 0.5, "images": 8.0},  # a sum of 0 is unknown: nothing was ever read
        {"decode": 0.0, "images": 0.0},
        {"decode": 0.0, "images": 0.0, "read": 0.25},
    ]


def test_padding_is_measured_in_the_first_and_every_50th_batch_after(clock: ManualTime) -> None:
    timer = StepTimer()
    images = np.random.default_rng(0).integers(1, 255, (16, 8, 8, 3), np.uint8)
    images[:, :2] = 0
    with timer.span("validation", 0, 0):
        timer.note_images(images)
    for number in range(1, 102):
        with timer.phase("data"):
            timer.note_images(images)
        timer.step(number, 1, 16)
    assert {times.step: times.padding for times in timer.log.steps if times.padding is not None} == {
        1: 0.25,
        51: 0.25,
        101: 0.25,
    }


def test_measuring_padding_is_not_waiting_for_data(clock: ManualTime, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(_: object) -> float:
        clock.wait(6)
        return 0.0

    monkeypatch.setattr("clearsight.profiler.timing.padding.border_share", slow)
    timer = StepTimer()
    with timer.phase("data"):
        clock.wait(1)
        timer.note_images(np.zeros((2, 4, 4, 3), np.uint8))
    timer.step(1, 1, 2)
    assert ticks(timer.log.steps[0].phases) == {"data": 1, "hook": 6}


def test_phases_show_in_a_trace_while_there_is_one(clock: ManualTime) -> None:
    events: list[str] = []

    @contextmanager
    def shown(name: str) -> Iterator[None]:
        events.append(f"{name} begins")
        yield
        events.append(f"{name} ends")

    timer = StepTimer()
    work(timer, clock, data=1)
    timer.annotate = shown
    with timer.phase("data"):
        work(timer, clock, transfer=1)
    with timer.phase("optimizer"):
        timer.step(1, 1, 1)  # closes what is open
        timer.annotate = None
    work(timer, clock, data=1)
    names = ["data begins", "transfer begins", "transfer ends", "data ends", "optimizer begins", "optimizer ends"]
    assert events == names


# Failures inside


def test_sums_that_fail_are_not_read_again(clock: ManualTime, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> dict[str, float]:
        raise KeyError("decode")

    timer = StepTimer(loads=broken)
    for number in (1, 2):
        work(timer, clock, data=1)
        timer.step(number, 1, 1)
    assert [times.load for times in timer.log.steps] == [{}, {}]
    assert timer.failure == "the profiler's loader timing: KeyError: 'decode'"
    assert len(caplog.records) == 1


def test_steps_are_timed_although_padding_and_annotation_fail(clock: ManualTime) -> None:
    def broken(name: str) -> Any:
        raise RuntimeError(name)

    timer = StepTimer()
    timer.annotate = broken
    work(timer, clock, data=1)
    timer.note_images(np.zeros((4, 4), np.uint8))
    work(timer, clock, forward=2)
    timer.step(1, 1, 1)
    assert timer.log.steps[0].seconds == 3 * TICK
    assert timer.log.steps[0].padding is None
    assert "annotation of the trace: RuntimeError: data" in timer.failure
    assert "padding measurement: BadShape" in timer.failure


def test_a_step_number_that_is_no_number_ends_the_timing_and_does_not_raise(clock: ManualTime) -> None:
    timer = StepTimer()
    work(timer, clock, data=1)
    timer.step("one", 1, 1)  # type: ignore[arg-type]
    work(timer, clock, data=1)
    timer.step(2, 1, 1)
    assert timer.log.steps == []
    assert timer.failure.startswith("the profiler's step timing: ValueError")
