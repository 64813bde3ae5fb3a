"""Guard: the first error turns an observing part off, is reported once, and never reaches the observed work."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from clearsight.core.guard import Guard, failures, guarded


def divide(divisor: int) -> float:
    return 1 / divisor


def interrupt() -> None:
    raise KeyboardInterrupt


def leave() -> None:
    raise SystemExit(3)


class Tracer:
    """A part with guarded methods."""

    def __init__(self) -> None:
        self.guard = Guard("tracing")
        self.calls = 0

    @guarded
    def work(self, divisor: int) -> None:
        self.calls += 1
        divide(divisor)

    @guarded(default=-1.0)
    def value(self, divisor: int) -> float:
        """Divide."""
        return divide(divisor)

    @guarded
    def stop(self) -> None:
        raise KeyboardInterrupt


def test_an_action_gives_its_result_until_the_first_error() -> None:
    guard = Guard("tracing")
    assert guard.run(divide, 2) == 0.5
    assert (guard.failure, guard.off, guard.reason) == (None, False, "")
    assert guard.run(divide, 0) is None
    assert isinstance(guard.failure, ZeroDivisionError)
    assert guard.reason == "ZeroDivisionError: division by zero"


def test_after_an_error_nothing_more_is_run() -> None:
    guard, calls = Guard("tracing"), list[int]()
    guard.run(divide, 0)
    guard.run(calls.append, 1)
    assert guard.off
    assert calls == []


def test_a_default_stands_in_for_the_result() -> None:
    guard = Guard("tracing")
    assert guard.run_or(7.0, divide, divisor=2) == 0.5
    assert guard.run_or(7.0, divide, divisor=0) == 7.0
    assert guard.run_or(8.0, divide, divisor=2) == 8.0


def test_a_clean_up_runs_after_an_error_too() -> None:
    guard, calls = Guard("tracing"), list[int]()
    guard.run(divide, 0)
    guard.finish(calls.append, 1)
    assert calls == [1]


def test_a_clean_up_that_fails_turns_the_part_off() -> None:
    guard = Guard("tracing")
    guard.finish(divide, 0)
    assert guard.off


def test_the_first_error_is_reported_once_and_before_the_part_is_undone() -> None:
    events: list[str] = []
    guard = Guard("tracing", report=events.append, on_failure=lambda error: events.append(type(error).__name__))
    guard.run(divide, 0)
    guard.finish(int, "x")
    guard.fail(OSError("full"))
    assert events == ["tracing failed and is off: ZeroDivisionError: division by zero", "ZeroDivisionError"]
    assert isinstance(guard.failure, ZeroDivisionError)


def test_without_a_reporter_the_error_is_a_warning_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Guard("tracing").run(divide, 0)
    (record,) = caplog.records
    assert record.getMessage() == "tracing failed and is off: ZeroDivisionError: division by zero"
    assert record.exc_info is not None


def test_a_report_and_an_undoing_that_fail_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def report(sentence: str) -> None:
        raise ValueError("closed")

    def undo(error: Exception) -> None:
        calls.append(1)
        raise OSError("full")

    Guard("tracing", report=report, on_failure=undo).run(divide, 0)
    assert calls == [1]
    assert "tracing failed again: ValueError: closed" in caplog.text
    assert "tracing failed again: OSError: full" in caplog.text


@pytest.mark.parametrize(("action", "error"), [(interrupt, KeyboardInterrupt), (leave, SystemExit)])
def test_an_interruption_and_an_exit_pass(action: Callable[[], None], error: type[BaseException]) -> None:
    guard = Guard("tracing")
    with pytest.raises(error):
        guard.run(action)
    with pytest.raises(error):
        guard.finish(action)
    assert not guard.off


def test_after_a_reset_the_part_works_again() -> None:
    guard = Guard("tracing")
    guard.run(divide, 0)
    guard.reset()
    assert guard.run(divide, 2) == 0.5


def test_a_guarded_method_does_nothing_after_an_error() -> None:
    tracer = Tracer()
    for divisor in (1, 0, 1):
        tracer.work(divisor)
    assert tracer.guard.reason.startswith("ZeroDivisionError")
    assert tracer.calls == 2


def test_a_guarded_method_with_a_default_returns_it() -> None:
    tracer = Tracer()
    assert [tracer.value(2), tracer.value(divisor=0), tracer.value(2)] == [0.5, -1.0, -1.0]
    assert Tracer.value.__doc__ == "Divide."


def test_an_interruption_passes_a_guarded_method() -> None:
    with pytest.raises(KeyboardInterrupt):
        Tracer().stop()


def test_the_failures_of_several_parts_are_one_line() -> None:
    tracing, sampling, timing = Guard("tracing"), Guard("sampling"), Guard("timing")
    assert failures([tracing, sampling]) == ""
    tracing.run(divide, 0)
    timing.run(int, "x")
    assert failures([tracing, sampling, timing]) == (
        "tracing: ZeroDivisionError: division by zero; timing: ValueError: invalid literal for int() with base 10: 'x'"
    )
