"""Guard: errors go to `_fail`, and after one nothing more is tried."""

from __future__ import annotations

import pytest

from clearsight.core.guard import guarded


class Fragile:
    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.calls = 0

    def _fail(self, error: Exception) -> None:
        self.failure = error

    @guarded
    def work(self, divisor: int) -> None:
        self.calls += 1
        1 / divisor

    @guarded
    def stop(self) -> None:
        raise KeyboardInterrupt


def test_an_error_ends_the_work_and_is_kept() -> None:
    fragile = Fragile()
    for divisor in (1, 0, 1):
        fragile.work(divisor)
    assert isinstance(fragile.failure, ZeroDivisionError)
    assert fragile.calls == 2


def test_an_interruption_by_the_user_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        Fragile().stop()
