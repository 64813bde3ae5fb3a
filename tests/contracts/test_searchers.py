"""Every way to search keeps the contract, and a new process searches like the old one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clearsight.core.errors import BadValue
from clearsight.core.space import FloatRange, IntRange
from clearsight.testing.searchers import MIXED, NUMBERS, SearcherContract, lived, proposed, record, reopened
from clearsight.tuning.searchers import SEARCHERS
from clearsight.tuning.searchers.cmaes import CMAES
from clearsight.tuning.searchers.grid import Grid
from clearsight.tuning.searchers.qmc import QuasiRandom
from clearsight.tuning.space_syntax import parse_space

NAMES = SEARCHERS.names()
_ELSEWHERE = """
import json, sys
from pathlib import Path
from clearsight.testing.searchers import MIXED, lived, record
from clearsight.tuning.searchers import SEARCHERS
points = {}
for name in sys.argv[2:]:
    with record(Path(sys.argv[1]) / name, SEARCHERS.load(name)(), MIXED) as ledger:
        points[name] = [dict(trial.params) for trial in lived(ledger, 14)]
print(json.dumps(points))
"""


@pytest.mark.parametrize("name", NAMES, scope="class")
class TestSearchers(SearcherContract):
    @pytest.fixture(autouse=True)
    def _of(self, name: str) -> None:
        self.searcher = SEARCHERS.load(name)()
        self.adapts_anew = name == "cmaes"
        self.several = name != "cmaes"
        self.trials = {"gp": 18, "nsga2": 32}.get(name, 13)  # ten that ended well; more than one generation of twenty


def test_another_process_proposes_the_same(tmp_path: Path) -> None:
    """Nothing follows from the order of a set, from a clock or from what an earlier study drew."""
    names = ["tpe", "random", "qmc", "nsga2"]  # the others draw by one of these, or (gp) would wait for torch
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    command = [sys.executable, "-c", _ELSEWHERE, str(tmp_path / "there"), *names]
    told = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    for name in names:
        with record(tmp_path / "here" / name, SEARCHERS.load(name)(), MIXED) as ledger:
            assert [trial.params for trial in lived(ledger, 14)] == told[name]


def test_cmaes_keeps_its_state_while_it_lives(tmp_path: Path) -> None:
    """Its state is pickled: it stays in memory and never reaches the storage, where somebody could put another."""
    with record(tmp_path / "s", CMAES(), NUMBERS) as ledger:
        lived(ledger, 10)
        ledger.flush()
        kept = [one for one in ledger.optuna_study().get_trials(deepcopy=False) if one.system_attrs]
        assert any(key.startswith("cma") for one in kept for key in one.system_attrs)
        stored = ledger._storage.get_all_trials(ledger._mirror._study)  # type: ignore[union-attr]
        assert not any(key.startswith("cma") for one in stored for key in one.system_attrs)


def test_the_grid_is_every_combination_once_in_order(tmp_path: Path) -> None:
    space = parse_space(
        ["optimizer=[sgd,adamw]", "momentum=float(0.5,0.9,0.2) when optimizer=sgd", "batch_size=[16,32]"]
    )
    assert Grid().size(space) == 8
    with record(tmp_path / "s", Grid(), space) as ledger:
        points = [proposed(ledger).params for _ in range(8)]
        assert ledger.propose() is None
    assert points == list(space.grid())
    assert [point.get("momentum") for point in points] == [0.5, 0.5, 0.7, 0.7, 0.9, 0.9, None, None]


def test_a_grid_without_end_is_refused() -> None:
    space = parse_space([f"{name}=int(1,1000,1)" for name in ("epochs", "batch_size", "step_size")])
    assert Grid().size(space) == 125  # a range without steps gives five values
    space = parse_space([f"{name}=int(1,1000,2)" for name in ("epochs", "batch_size")])
    with pytest.raises(BadValue, match=r"more than 100,000 combinations\. Use tpe or random\."):
        Grid().size(space)


def test_only_the_grid_has_an_end() -> None:
    assert [name for name in NAMES if SEARCHERS.load(name)().size(MIXED) is not None] == ["grid"]


def test_quasi_random_points_fill_the_space_more_evenly(tmp_path: Path) -> None:
    """Of sixteen points of one sequence one falls into each sixteenth of every field's range."""
    space = parse_space(["dropout=float(0,0.5)", "momentum=float(0,0.5)"])
    with record(tmp_path / "s", QuasiRandom(), space) as ledger:
        points = [proposed(ledger).params for _ in range(16)]
    for name in space.names:
        assert {int(float(str(point[name])) * 32) for point in points} == set(range(16))


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
    with record(tmp_path / "s", SEARCHERS.load(name)(), parse_space(ends)) as ledger:
        points = [proposed(ledger).params for _ in range(40)]
    assert {text: {point[text.partition("=")[0]] for point in points} for text in ends} == ends


def test_what_was_proposed_can_be_opened_again(tmp_path: Path) -> None:
    """Three steps of 0.1 are 0.3, which is in the range, and not 0.30000000000000004, which is not."""
    space = parse_space(["dropout=float(0,0.3,0.1)"])
    assert FloatRange(low=0.0, high=0.3, step=0.1).points(5) == (0.0, 0.1, 0.2, 0.3)
    assert IntRange(low=1, high=10, step=4).points(5) == (1, 5, 9)
    with record(tmp_path / "s", Grid(), space) as ledger:
        values = [proposed(ledger).params["dropout"] for _ in range(4)]
    with reopened(tmp_path / "s", Grid()) as ledger:
        assert [trial.params["dropout"] for trial in ledger.trials()] == values == [0.0, 0.1, 0.2, 0.3]
