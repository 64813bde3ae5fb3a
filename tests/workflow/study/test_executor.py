"""Who works on a study: how many, and each one's share of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import BadChoice
from clearsight.core.machine import cores
from clearsight.core.recipe import Recipe
from clearsight.core.study import StudyPlan
from clearsight.core.trial import Objective
from clearsight.tuning.executors.local import LocalExecutor
from clearsight.tuning.executors.spec import ExecutorSpec
from clearsight.tuning.space_syntax import parse_space
from clearsight.workflow.paths import Paths
from clearsight.workflow.study.executor import build_executor
from clearsight.workflow.study.reporter import WorkerResources

PLACES = Paths(cache=Path("/cache"), weights=())
WHOLE = Recipe().replace(model="tiny", weights="none")
HEADS = WHOLE.replace(freeze="backbone")


def plan(**facts: Any) -> StudyPlan:
    space = parse_space(["lr=log(1e-5,1e-1)"])
    return StudyPlan(data="/d", space=space, objectives=(Objective("accuracy", "maximize"),), trials=8, **facts)


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The crew that an executor would be made of."""

    def made(plan: StudyPlan, base: Recipe, gpus: int = 0) -> ExecutorSpec:
        taken: list[ExecutorSpec] = []
        monkeypatch.setattr("clearsight.workflow.study.executor.EXECUTORS.load", lambda kind: taken.append)
        build_executor(plan, base, PLACES, Path("/logs"), gpus)
        return taken[0]

    return made


def posts(crew: ExecutorSpec) -> list[WorkerResources]:
    return [WorkerResources.from_json(crew.post(slot)) for slot in range(crew.slots)]


def test_a_worker_for_each_trial_at_a_time_with_its_share_of_the_cores(crew: Any) -> None:
    made = crew(plan(parallel=2), WHOLE)
    assert made.slots == 2
    assert posts(made) == [WorkerResources(places=PLACES, threads=max(1, cores() // 2))] * 2
    assert (made.logs, made.command[-2:]) == (Path("/logs"), ("-m", "clearsight.workflow.study.worker"))


def test_more_workers_than_cores_have_a_thread_each(crew: Any) -> None:
    assert posts(crew(plan(parallel=8), WHOLE))[7].threads == max(1, cores() // 8)


def test_heads_that_train_together_have_one_worker_with_all_of_it(crew: Any) -> None:
    made = crew(plan(parallel=4), HEADS)
    assert posts(made) == [WorkerResources(places=PLACES, threads=cores())]


def test_gpus_are_shared_in_turns(crew: Any) -> None:
    assert [post.device for post in posts(crew(plan(parallel=3), WHOLE, gpus=2))] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [post.device for post in posts(crew(plan(parallel=2), WHOLE))] == ["auto", "auto"]


def test_on_a_cluster_the_machine_is_another_one(crew: Any) -> None:
    made = crew(plan(parallel=2, on="ray://host:1", cpus_per_trial=3, gpus_per_trial=0.5), WHOLE, gpus=2)
    assert (made.address, made.cpus, made.gpus) == ("ray://host:1", 3, 0.5)
    assert posts(made) == [WorkerResources(places=PLACES, threads=3)] * 2
    assert posts(crew(plan(on="ray"), WHOLE)) == [WorkerResources(places=PLACES, threads=1)]
    assert crew(plan(on="ray"), WHOLE).address == ""


def test_local_is_worker_processes_of_this_machine(tmp_path: Path) -> None:
    executor = build_executor(plan(parallel=2), WHOLE, PLACES, tmp_path, 0)
    assert isinstance(executor, LocalExecutor)
    assert executor.slots == 2
    assert executor.pids() == {}  # before there is work
    executor.close()


def test_a_place_where_nothing_works_is_one_sentence() -> None:
    with pytest.raises(BadChoice, match=r"^--on rya: nothing works there; allowed: local, ray. Did you mean ray\?$"):
        build_executor(plan(on="rya"), WHOLE, PLACES, Path("/logs"), 0)
