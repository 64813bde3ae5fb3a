"""Searchers keep the contract of clearsight.testing.searchers, and propose the same values in any process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clearsight.core.errors import BadValue
from clearsight.core.space import FloatRange, IntRange
from clearsight.testing.searchers import MIXED, NUMBERS, SearcherContract, new_store, propose, reopen_store, run_trials
from clearsight.tuning.searchers import SEARCHERS
from clearsight.tuning.searchers.cmaes import CMAES
from clearsight.tuning.searchers.grid import Grid
from clearsight.tuning.searchers.qmc import QuasiRandom
from clearsight.tuning.space_syntax import parse_space

NAMES = SEARCHERS.names()
_OTHER_PROCESS = """
import json, sys
from pathlib import Path
from clearsight.testing.searchers import MIXED, run_trials, new_store
from clearsight.tuning.searchers import SEARCHERS
params = {}
for name in sys.argv[2:]:
    with new_store(Path(sys.argv[1]) / name, SEARCHERS.load(name)(), MIXED) as store:
        params[name] = [dict(trial.params) for trial in run_trials(store, 14)]
print(json.dumps(params))
"""


@pytest.mark.parametrize("name", NAMES, scope="class")
class TestSearchers(SearcherContract):
    @pytest.fixture(autouse=True)
    def _searcher(self, name: str) -> None:
        self.searcher = SEARCHERS.load(name)()
        self.restarts = name == "cmaes"
        self.multi_objective = name != "cmaes"
        self.trials = {"gp": 18, "nsga2": 32}.get(name, 13)  # ten complete ones; more than one generation of twenty


def test_another_process_proposes_the_same(tmp_path: Path) -> None:
    """Proposals depend on no order of a set, no clock and no earlier study."""
    names = ["tpe", "random", "qmc", "nsga2"]  # the others draw with one of these, or (gp) would import torch
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    command = [sys.executable, "-c", _OTHER_PROCESS, str(tmp_path / "there"), *names]
    expected = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    for name in names:
        with new_store(tmp_path / "here" / name, SEARCHERS.load(name)(), MIXED) as store:
            assert [trial.params for trial in run_trials(store, 14)] == expected[name]


def test_the_state_of_cmaes_stays_in_memory(tmp_path: Path) -> None:
    """Its state is a pickle, and a storage could hold the pickle of somebody else."""
    with new_store(tmp_path / "s", CMAES(), NUMBERS) as store:
        run_trials(store, 10)
        store.flush()
        trials = store.optuna_study.get_trials(deepcopy=False)
        assert any(key.startswith("cma") for trial in trials for key in trial.system_attrs)
        mirror = store._mirror
        assert mirror is not None
        stored = mirror._storage.get_all_trials(mirror._study_id)
        assert not any(key.startswith("cma") for trial in stored for key in trial.system_attrs)


def test_the_grid_is_every_combination_once_in_order(tmp_path: Path) -> None:
    space = parse_space(
        ["optimizer=[sgd,adamw]", "momentum=float(0.5,0.9,0.2) when optimizer=sgd", "batch_size=[16,32]"]
    )
    assert Grid().size(space) == 8
    with new_store(tmp_path / "s", Grid(), space) as store:
        params = [propose(store).params for _ in range(8)]
        assert store.propose() is None
    assert params == list(space.grid())
    assert [values.get("momentum") for values in params] == [0.5, 0.5, 0.7, 0.7, 0.9, 0.9, None, None]


def test_a_huge_grid_is_refused() -> None:
    space = parse_space([f"{name}=int(1,1000,1)" for name in ("epochs", "batch_size", "step_size")])
    assert Grid().size(space) == 125  # a range without steps gives five values
    space = parse_space([f"{name}=int(1,1000,2)" for name in ("epochs", "batch_size")])
    with pytest.raises(BadValue, match=r"more than 100,000 combinations\. Use tpe or random\."):
        Grid().size(space)


def test_only_the_grid_has_a_size() -> None:
    assert [name for name in NAMES if SEARCHERS.load(name)().size(MIXED) is not None] == ["grid"]


def test_quasi_random_values_fill_the_space_evenly(tmp_path: Path) -> None:
    """Of sixteen values of one sequence, one lies in each sixteenth of every range."""
    space = parse_space(["dropout=float(0,0.5)", "momentum=float(0,0.5)"])
    with new_store(tmp_path / "s", QuasiRandom(), space) as store:
        params = [propose(store).params for _ in range(16)]
    for name in space.names:
        assert {int(float(str(values[name])) * 32) for values in params} == set(range(16))


@pytest.mark.parametrize("name", ["qmc", "random", "tpe"])
def test_both_ends_are_reached_and_nothing_beyond(tmp_path: Path, name: str) -> None:
    ends = {
        "epochs=int(5,8)": {5, 6, 7, 8},
        "batch_size=int(5,12,3)": {5, 8, 11},
        "step_size=log(1,4)": {1, 2, 3, 4},
        "dropout=float(0,0.3,0.1)": {0.0, 0.1, 0.2, 0.3},
        "optimizer=[adam,sgd]": {"adam", "sgd"},
        "feature_cache=[true,false]": {True, False},
    }
    with new_store(tmp_path / "s", SEARCHERS.load(name)(), parse_space(ends)) as store:
        params = [propose(store).params for _ in range(40)]
    assert {text: {values[text.partition("=")[0]] for values in params} for text in ends} == ends


def test_proposed_steps_can_be_read_back(tmp_path: Path) -> None:
    """Three steps of 0.1 are 0.3, which is in the range, and not 0.30000000000000004, which is not."""
    space = parse_space(["dropout=float(0,0.3,0.1)"])
    assert FloatRange(low=0.0, high=0.3, step=0.1).grid_values(5) == (0.0, 0.1, 0.2, 0.3)
    assert IntRange(low=1, high=10, step=4).grid_values(5) == (1, 5, 9)
    with new_store(tmp_path / "s", Grid(), space) as store:
        values = [propose(store).params["dropout"] for _ in range(4)]
    with reopen_store(tmp_path / "s", Grid()) as store:
        assert [trial.params["dropout"] for trial in store.trials()] == values == [0.0, 0.1, 0.2, 0.3]
