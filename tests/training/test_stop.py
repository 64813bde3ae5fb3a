"""Reasons from outside: a signal once, the clock."""

import os
import signal

import pytest

from clearsight.training.stop import TIME_LIMIT, StopSignal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_handlers_come_back(number: signal.Signals) -> None:
    before, stop = signal.getsignal(number), StopSignal()
    with stop.listening():
        assert stop.reason == ""
        os.kill(os.getpid(), number)
        assert stop.reason == f"stopped by {number.name}"
        assert signal.getsignal(number) is before, "the second one must work as usual"
    assert signal.getsignal(number) is before


def test_the_time_limit_is_a_reason_once_it_is_over() -> None:
    assert StopSignal(3600).reason == ""
    assert StopSignal(1e-9).reason.startswith(TIME_LIMIT)
