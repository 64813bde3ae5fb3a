"""What works on this machine keeps the contract. (Ray's tests hold Ray to the same one.)"""

from __future__ import annotations

from clearsight.testing.executors import ExecutorContract
from clearsight.tuning.executors import EXECUTORS


class TestLocal(ExecutorContract):
    build = staticmethod(EXECUTORS.load("local"))
