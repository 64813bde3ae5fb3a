"""Reasons to stop from outside: the first signal, the time limit."""

import os
import signal

import pytest

from clearsight.core.stop import StopKind, StopReason
from clearsight.training.stop import StopSignal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_sets_the_reason_and_the_handlers_are_restored(number: signal.Signals) -> None:
    before, stop = signal.getsignal(number), StopSignal()
    with stop.listening():
        assert stop.reason is None
        os.kill(os.getpid(), number)
        assert stop.reason == StopReason(StopKind.SIGNAL, f"stopped by {number.name}")
        assert signal.getsignal(number) is before, "the second one must work as usual"
    assert signal.getsignal(number) is before


def test_the_time_limit_is_a_reason_after_it_has_passed() -> None:
    assert StopSignal(3600).reason is None
    reason = StopSignal(1e-9).reason
    assert reason is not None
    assert reason.kind is StopKind.TIME_LIMIT


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_is_ignored_stays_ignored(number: signal.Signals) -> None:
    before, stop = signal.signal(number, signal.SIG_IGN), StopSignal()  # as nohup does it
    try:
        with stop.listening():
            os.kill(os.getpid(), number)
            assert stop.reason is None
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
