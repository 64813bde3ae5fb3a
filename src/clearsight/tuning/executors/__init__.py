"""Executors: where trials run. One file per executor, and one line here."""

from __future__ import annotations

from collections.abc import Callable

from clearsight.core.executor import Executor, ExecutorSpec
from clearsight.core.registry import Registry

EXECUTORS = Registry[Callable[[ExecutorSpec], Executor]](
    "executor",
    {
        "local": "clearsight.tuning.executors.local:LocalExecutor",
        "ray": "clearsight.tuning.executors.ray:RayExecutor",
    },
    group="clearsight.executors",
)
