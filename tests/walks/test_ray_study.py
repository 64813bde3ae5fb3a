"""A study on a Ray cluster of several nodes loses one of them while a trial is under way there, and nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.study import Study, StudyStatus
from clearsight.core.trial import Trial, TrialState
from clearsight.tuning.trial_store import TrialStore
from clearsight.workflow.study.plan import most_epochs, pruner_of, searcher_of
from clearsight.workflow.tune import StudyContext, tune
from tests.tuning.executors.ray_bench import surroundings

pytest.importorskip("ray", reason="the extra clearsight[ray] is not installed")

from ray.cluster_utils import Cluster

pytestmark = pytest.mark.slow

_HERE = {"node_ip_address": "127.0.0.1", "include_dashboard": False}


@pytest.fixture
def cluster(unused_port: int) -> Iterator[Cluster]:
    """A head that does no work but to speak to us, and two nodes for one trial each; all of it on loopback."""
    with surroundings(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # files that Ray leaves to be closed
        head = {**_HERE, "num_cpus": 0, "ray_client_server_port": unused_port}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            cluster.add_node(num_cpus=1, wait=False, **_HERE)
        cluster.wait_for_nodes()
        try:
            yield cluster
        finally:
            cluster.shutdown()


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


class Saboteur:
    """An observer that pulls the plug of a node once both of them have a trial that has been through an epoch."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._under_way = cluster, {}
        self.troubles: list[str] = []
        self.struck = False

    def on_begin(self, study: Study, trials: Sequence[Trial]) -> None:
        pass

    def on_trial(self, trial: Trial) -> None:
        self._under_way[trial.number] = 0

    def on_epoch(self, trial: Trial, epoch: int, value: float) -> None:
        self._under_way[trial.number] = epoch
        if not self.struck and len(self._under_way) == 2 and all(self._under_way.values()):
            self.struck = True
            self._cluster.remove_node(next(iter(self._cluster.worker_nodes)), allow_graceful=False)

    def on_result(self, trial: Trial) -> None:
        del self._under_way[trial.number]

    def on_trouble(self, sentence: str) -> None:
        self.troubles.append(sentence)

    def on_end(self, status: StudyStatus, reason: str) -> None:
        pass


def _study(digits: Path, out: Path, on: str, observers: Sequence[Any] = ()) -> Study:
    return tune(
        digits,
        space=["lr=log(1e-4,1e-2)"],
        out=out,
        around=StudyContext(observers=observers),
        model="tiny",
        weights="none",
        epochs=2,
        trials=4,
        parallel=2,
        searcher="random",
        pruner="none",
        on=on,
    )


def _trials(study: Study) -> list[Trial]:
    ledger = TrialStore(
        study,
        searcher_of(study.plan.searcher),
        pruner_of(study.plan, study.recipe),
        most_epochs(study.plan, study.recipe),
    )
    try:
        return ledger.trials()
    finally:
        ledger.close()


def test_a_study_survives_the_loss_of_a_node(cluster: Cluster, unused_port: int, digits: Path, tmp_path: Path) -> None:
    saboteur = Saboteur(cluster)
    study = _study(digits, tmp_path / "on-ray", f"ray://127.0.0.1:{unused_port}", [saboteur])
    undisturbed = _study(digits, tmp_path / "here", "local")
    assert saboteur.struck
    (trouble,) = saboteur.troubles
    assert trouble.endswith("its node died; it is tried again")

    trials, others = _trials(study), _trials(undisturbed)
    assert study.status is StudyStatus.COMPLETED
    assert [one.state for one in trials] == [TrialState.COMPLETE] * 4
    assert [one.params for one in trials] == [one.params for one in others]
    assert sorted(one.attempts for one in trials) == [1, 1, 1, 2]
    assert [one.epochs for one in trials] == [2] * 4
    assert [one.values for one in trials] == [pytest.approx(one.values, abs=0.02) for one in others]
    assert study.best["trial"] == undisturbed.best["trial"]
    assert Path(study.best["run"], "model").is_dir()
