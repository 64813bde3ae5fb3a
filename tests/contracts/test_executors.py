"""Executors keep the contract of clearsight.testing.executors."""

from __future__ import annotations

from clearsight.testing.executors import ExecutorContract
from clearsight.tuning.executors import EXECUTORS


class TestLocal(ExecutorContract):
    build = staticmethod(EXECUTORS.load("local"))
