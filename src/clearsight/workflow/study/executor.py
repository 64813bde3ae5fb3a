"""Who works on a study: how many, and each one's share of the machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadChoice
from clearsight.core.executor import Executor
from clearsight.core.machine import cores
from clearsight.core.recipe import Recipe
from clearsight.core.study import StudyPlan
from clearsight.tuning.executors import EXECUTORS
from clearsight.tuning.executors.spec import ExecutorSpec
from clearsight.workflow.paths import Paths
from clearsight.workflow.study.plan import stacks
from clearsight.workflow.study.reporter import WorkerResources

_WORKER = (sys.executable, "-m", "clearsight.workflow.study.worker")
_BENCH = "clearsight.workflow.study.job_runner:JobRunner.at"


def build_executor(plan: StudyPlan, base: Recipe, places: Paths, logs: Path, gpus: int) -> Executor:
    """The executor of a study: one worker with the whole machine where heads are trained together, else `parallel`
    workers that share its cores and its GPUs.

    gpus: that this machine has. Raises BadChoice for a place to work on that there is none of.
    """
    kind, _, _ = plan.on.partition("://")
    slots = 1 if stacks(plan, base) else plan.parallel
    local = kind == "local"
    # More threads than cores make all of them wait; and on a cluster the machine is another one.
    threads = max(1, cores() // slots) if local else max(1, int(plan.cpus_per_trial or 1))

    def post(slot: int) -> Mapping[str, Any]:
        device = f"cuda:{slot % gpus}" if local and gpus else "auto"
        return WorkerResources(places=places, device=device, threads=threads).to_json()

    crew = ExecutorSpec(
        slots=slots,
        command=_WORKER,
        bench=_BENCH,
        post=post,
        logs=logs,
        address=plan.on if "://" in plan.on else "",
        cpus=plan.cpus_per_trial,
        gpus=plan.gpus_per_trial,
    )
    try:
        return EXECUTORS.load(kind)(crew)
    except BadChoice as error:
        if error.got != kind:
            raise
        what = f"--on {plan.on}"
        raise BadChoice(what, "nothing works there", got=kind, allowed=EXECUTORS.names()) from None
