"""A study on a Ray cluster loses a node with a running trial, and nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.study import Study, StudyStatus
from clearsight.core.trial import Trial, TrialState
from clearsight.tuning.trial_store import TrialStore
from clearsight.workflow.study.lead import StudyContext
from clearsight.workflow.study.plan import most_epochs, pruner_of, searcher_of
from clearsight.workflow.tune import tune
from tests.tuning.executors.ray_environment import ray_environment

pytest.importorskip("ray", reason="the extra clearsight[ray] is not installed")

from ray.cluster_utils import Cluster

pytestmark = pytest.mark.slow

_HERE = {"node_ip_address": "127.0.0.1", "include_dashboard": False}


@pytest.fixture
def cluster(unused_port: int) -> Iterator[Cluster]:
    """A head node without trials, and two nodes for one trial each; all of them on loopback."""
    with ray_environment(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves files open
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
    """An observer that removes a node once the trials of both nodes have finished an epoch."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._epochs = cluster, {}
        self.troubles: list[str] = []
        self.removed = False

    def on_begin(self, study: Study, trials: Sequence[Trial]) -> None:
        pass

    def on_trial(self, trial: Trial) -> None:
        self._epochs[trial.number] = 0

    def on_epoch(self, trial: Trial, epoch: int, value: float) -> None:
        self._epochs[trial.number] = epoch
        if not self.removed and len(self._epochs) == 2 and all(self._epochs.values()):
            self.removed = True
            self._cluster.remove_node(next(iter(self._cluster.worker_nodes)), allow_graceful=False)

    def on_result(self, trial: Trial) -> None:
        del self._epochs[trial.number]

    def on_trouble(self, sentence: str) -> None:
        self.troubles.append(sentence)

    def on_end(self, status: StudyStatus, reason: str) -> None:
        pass


def _study(digits: Path, out: Path, on: str, observers: Sequence[Any] = ()) -> Study:
    return tune(
        digits,
        space=["lr=log(1e-4,1e-2)"],
        out=out,
        launch=StudyContext(observers=observers),
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
    store = TrialStore(
        study,
        searcher_of(study.plan.searcher),
        pruner_of(study.plan, study.recipe),
        most_epochs(study.plan, study.recipe),
    )
    try:
        return store.trials()
    finally:
        store.close()


def test_a_study_survives_the_loss_of_a_node(cluster: Cluster, unused_port: int, digits: Path, tmp_path: Path) -> None:
    saboteur = Saboteur(cluster)
    study = _study(digits, tmp_path / "on-ray", f"ray://127.0.0.1:{unused_port}", [saboteur])
    undisturbed = _study(digits, tmp_path / "here", "local")
    assert saboteur.removed
    (trouble,) = saboteur.troubles
    assert trouble.endswith("its node died; it is tried again")

    trials, others = _trials(study), _trials(undisturbed)
    assert study.status is StudyStatus.COMPLETED
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert [trial.params for trial in trials] == [trial.params for trial in others]
    assert sorted(trial.attempts for trial in trials) == [1, 1, 1, 2]
    assert [trial.epochs for trial in trials] == [2] * 4
    assert [trial.values for trial in trials] == [pytest.approx(trial.values, abs=0.02) for trial in others]
    assert study.best["trial"] == undisturbed.best["trial"]
    assert Path(study.best["run"], "model").is_dir()
