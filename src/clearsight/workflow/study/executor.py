"""Executor of a study: the number of its workers, and each worker's share of the machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadChoice
from clearsight.core.executor import Executor, ExecutorSpec
from clearsight.core.machine import cores
from clearsight.core.recipe import Recipe
from clearsight.core.study import StudyPlan
from clearsight.tuning.executors import EXECUTORS
from clearsight.workflow.paths import Paths
from clearsight.workflow.study.plan import stacks
from clearsight.workflow.study.reporter import WorkerResources

_WORKER = (sys.executable, "-m", "clearsight.workflow.study.worker")
_RUNNER = "clearsight.workflow.study.job_runner:JobRunner.from_json"


def build_executor(plan: StudyPlan, base: Recipe, paths: Paths, logs: Path, gpus: int) -> Executor:
    """Return the executor of a study.

    Heads that train together have one worker with the whole machine. Other trials have `parallel` workers that share
    its cores and its GPUs. gpus: number of GPUs of this machine. Raises BadChoice for an unknown executor.
    """
    kind, _, _ = plan.on.partition("://")
    slots = 1 if stacks(plan, base) else plan.parallel
    local = kind == "local"
    # More threads than cores slow all of them down. A cluster has other machines: there the share of a trial counts.
    threads = max(1, cores() // slots) if local else max(1, int(plan.cpus_per_trial or 1))

    def resources(slot: int) -> Mapping[str, Any]:
        device = f"cuda:{slot % gpus}" if local and gpus else "auto"  # more workers than GPUs share them in turn
        return WorkerResources(paths=paths, device=device, threads=threads).to_json()

    spec = ExecutorSpec(
        slots=slots,
        command=_WORKER,
        runner=_RUNNER,
        resources=resources,
        logs=logs,
        address=plan.on if "://" in plan.on else "",
        cpus=plan.cpus_per_trial,
        gpus=plan.gpus_per_trial,
    )
    try:
        return EXECUTORS.load(kind)(spec)
    except BadChoice as error:
        if error.got != kind:  # raised by the executor itself, about something else
            raise
        raise BadChoice(f"--on {plan.on}", "no such executor", got=kind, allowed=EXECUTORS.names()) from None
