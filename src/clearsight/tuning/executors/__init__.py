"""Executors: what carries trials out. One file each, and one line here."""

from __future__ import annotations

from collections.abc import Callable

from clearsight.core.executor import Executor
from clearsight.core.registry import Registry
from clearsight.tuning.executors.spec import ExecutorSpec

EXECUTORS = Registry[Callable[[ExecutorSpec], Executor]](
    "executor",
    {
        "local": "clearsight.tuning.executors.local:build",
        "ray": "clearsight.tuning.executors.ray:build",
    },
    group="clearsight.executors",
)
