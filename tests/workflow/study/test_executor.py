"""Executor of a study: the number of its workers, and each worker's share of the machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import BadChoice
from clearsight.core.executor import ExecutorSpec
from clearsight.core.machine import cores
from clearsight.core.recipe import Recipe
from clearsight.core.study import StudyPlan
from clearsight.core.trial import Objective
from clearsight.tuning.executors.local import LocalExecutor
from clearsight.tuning.space_syntax import parse_space
from clearsight.workflow.paths import Paths
from clearsight.workflow.study.executor import build_executor
from clearsight.workflow.study.reporter import WorkerResources

PATHS = Paths(cache=Path("/cache"), weights=())
NETWORK = Recipe().replace(model="tiny", weights="none")
HEAD = NETWORK.replace(freeze="backbone")

BuildSpec = Callable[..., ExecutorSpec]


def plan(**fields: Any) -> StudyPlan:
    space = parse_space(["lr=log(1e-5,1e-1)"])
    return StudyPlan(data="/d", space=space, objectives=(Objective("accuracy", "maximize"),), trials=8, **fields)


@pytest.fixture
def build_spec(monkeypatch: pytest.MonkeyPatch) -> BuildSpec:
    """Returns the spec that the executor of a plan would be built from."""

    def build(plan: StudyPlan, base: Recipe, gpus: int = 0) -> ExecutorSpec:
        specs: list[ExecutorSpec] = []
        monkeypatch.setattr("clearsight.workflow.study.executor.EXECUTORS.load", lambda kind: specs.append)
        build_executor(plan, base, PATHS, Path("/logs"), gpus)
        return specs[0]

    return build


def resources(spec: ExecutorSpec) -> list[WorkerResources]:
    return [WorkerResources.from_json(spec.resources(slot)) for slot in range(spec.slots)]


def test_parallel_workers_share_the_cores(build_spec: BuildSpec) -> None:
    spec = build_spec(plan(parallel=2), NETWORK)
    assert spec.slots == 2
    assert resources(spec) == [WorkerResources(paths=PATHS, threads=max(1, cores() // 2))] * 2
    assert (spec.logs, spec.command[-2:]) == (Path("/logs"), ("-m", "clearsight.workflow.study.worker"))


def test_more_workers_than_cores_have_a_thread_each(build_spec: BuildSpec) -> None:
    assert resources(build_spec(plan(parallel=8), NETWORK))[7].threads == max(1, cores() // 8)


def test_heads_that_train_together_have_one_worker_with_all_cores(build_spec: BuildSpec) -> None:
    spec = build_spec(plan(parallel=4), HEAD)
    assert resources(spec) == [WorkerResources(paths=PATHS, threads=cores())]


def test_workers_take_gpus_in_turns(build_spec: BuildSpec) -> None:
    three, none = build_spec(plan(parallel=3), NETWORK, gpus=2), build_spec(plan(parallel=2), NETWORK)
    assert [worker.device for worker in resources(three)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [worker.device for worker in resources(none)] == ["auto", "auto"]


def test_a_cluster_has_the_shares_of_the_plan(build_spec: BuildSpec) -> None:
    spec = build_spec(plan(parallel=2, on="ray://host:1", cpus_per_trial=3, gpus_per_trial=0.5), NETWORK, gpus=2)
    assert (spec.address, spec.cpus, spec.gpus) == ("ray://host:1", 3, 0.5)
    assert resources(spec) == [WorkerResources(paths=PATHS, threads=3)] * 2
    assert resources(build_spec(plan(on="ray"), NETWORK)) == [WorkerResources(paths=PATHS, threads=1)]
    assert build_spec(plan(on="ray"), NETWORK).address == ""


def test_the_default_is_worker_processes_of_this_machine(tmp_path: Path) -> None:
    executor = build_executor(plan(parallel=2), NETWORK, PATHS, tmp_path, 0)
    assert isinstance(executor, LocalExecutor)
    assert executor.slots == 2
    assert executor.pids() == {}  # before there is work
    executor.close()


def test_an_unknown_executor_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadChoice, match=r"^--on rya: no such executor. Allowed: local, ray. Did you mean ray\?$"):
        build_executor(plan(on="rya"), NETWORK, PATHS, Path("/logs"), 0)
