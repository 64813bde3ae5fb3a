"""Repair tries the fixes of findings; the best attempt ends in the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import NotResumable
from clearsight.core.events import RunStatus
from clearsight.core.files import read_json
from clearsight.core.finding import Finding, Severity, Verdict, write_findings
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.workflow.run.checks import run_lock
from clearsight.workflow.run.repair import repair, short_recipe

USUAL_ACCURACY = 0.1  # at the usual rate, unless a test gives another


class Trainer:
    """Trains runs whose accuracy is a function of the learning rate, with findings that propose a lower one."""

    def __init__(
        self, folder: Path, accuracies: dict[float, float], fix: dict[str, Any] | None = None, findings: bool = True
    ) -> None:
        self.folder, self.accuracies, self.fix, self.findings = folder, accuracies, fix, findings
        self.rates: list[float | None] = []

    def __call__(self, recipe: Recipe) -> Run:
        rate = recipe.optim.lr
        self.rates.append(rate)
        run = Run.begin(self.folder, recipe)
        accuracy = self.accuracies.get(rate, USUAL_ACCURACY) if rate else USUAL_ACCURACY
        run.data = {"path": "photos", "classes": ["cat", "dog"]}
        run.scores = {"valid": {"accuracy": accuracy, "loss": 1 - accuracy}, "test": None}
        (run.bundle / "bundle.json").write_text("{}")
        fix = ({"lr": rate / 10} if rate else {}) if self.fix is None else self.fix
        found = Finding(
            rule="Fast", verdict=Verdict.FOUND, severity=Severity.SEVERE, cause="too fast", fix=fix, group="Fast"
        )
        write_findings(run.path / "findings.jsonl", [found] if accuracy < 0.9 and self.findings else [])
        run.finish(RunStatus.COMPLETED)
        return run


def repaired(folder: Path, accuracies: dict[float, float], most: int, fix: dict[str, Any] | None = None) -> Trainer:
    train = Trainer(folder, accuracies, fix)
    best = repair(train(Recipe().replace(lr=max(accuracies))), train, most=most, monitor="accuracy")
    assert best.path == folder
    return train


def test_repairs_continue_until_nothing_is_found(tmp_path: Path) -> None:
    train = repaired(tmp_path / "run", {1.0: 0.2, 0.1: 0.5, 0.01: 0.95}, most=5)
    assert train.rates == [1.0, 0.1, 0.01]
    assert Run.open(tmp_path / "run").recipe.optim.lr == 0.01
    attempts = read_json(tmp_path / "run" / "repairs.json")
    assert [(entry["rule"], entry["fix"], entry["kept"]) for entry in attempts] == [
        ("Fast", {"lr": 0.1}, False),
        ("Fast", {"lr": 0.01}, False),
        ("", {}, True),
    ]


def test_the_lock_of_the_folder_stays_through_all_attempts(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with run_lock(tmp_path / "run"):
        repaired(tmp_path / "run", {1.0: 0.8, 0.1: 0.5}, most=1)
        with pytest.raises(NotResumable, match="works on this run"):
            run_lock(tmp_path / "run").__enter__()


def test_the_number_of_repairs_is_limited(tmp_path: Path) -> None:
    assert repaired(tmp_path / "run", {1.0: 0.2, 0.1: 0.5, 0.01: 0.95}, most=1).rates == [1.0, 0.1]


def test_a_fix_that_lowered_the_score_is_undone(tmp_path: Path) -> None:
    repaired(tmp_path / "run", {1.0: 0.8, 0.1: 0.5, 0.01: 0.3}, most=2)
    assert Run.open(tmp_path / "run").recipe.optim.lr == 1.0
    assert [path.name for path in sorted((tmp_path / "run" / "attempts").iterdir())] == ["2", "3"]
    assert Run.open(tmp_path / "run" / "attempts" / "3").recipe.optim.lr == 0.01


def test_the_same_fix_is_not_tried_twice(tmp_path: Path) -> None:
    assert repaired(tmp_path / "run", {1.0: 0.2, 0.5: 0.2}, most=5, fix={"lr": 0.5}).rates == [1.0, 0.5, None]


@pytest.mark.parametrize("fix", [{}, {"lr": 1.0}, {"lr": -3}, {"no such field": 1}])
def test_without_a_usable_fix_the_usual_settings_are_tried(tmp_path: Path, fix: dict[str, Any]) -> None:
    assert repaired(tmp_path / "run", {1.0: 0.2}, most=5, fix=fix).rates == [1.0, None]
    attempts = read_json(tmp_path / "run" / "repairs.json")
    assert [(entry["rule"], entry["fix"], entry["kept"]) for entry in attempts] == [
        ("usual settings", {"lr": None}, True),
        ("", {}, False),
    ]


def test_of_several_candidates_the_best_short_training_is_trained_whole(tmp_path: Path) -> None:
    train, compared = Trainer(tmp_path / "run", {1.0: 0.2, 0.1: 0.5}), dict[float | None, float]()

    def compare(recipe: Recipe) -> float:
        compared[recipe.optim.lr] = {0.1: 0.3, None: 0.4}[recipe.optim.lr]
        return compared[recipe.optim.lr]

    repair(train(Recipe().replace(lr=1.0)), train, most=1, monitor="accuracy", compare=compare)
    assert train.rates == [1.0, None]
    assert compared == {0.1: 0.3, None: 0.4}
    [first, _] = read_json(tmp_path / "run" / "repairs.json")
    assert first["compared"] == {"Fast: {'lr': 0.1}": 0.3, "usual settings: {'lr': None}": 0.4}


@pytest.mark.parametrize(
    ("accuracy", "rates"), [(0.05, [1.0, None]), (0.6, [1.0])], ids=["little learned", "something learned"]
)
def test_a_run_that_learned_little_without_a_finding_is_trained_with_the_usual_settings(
    tmp_path: Path, accuracy: float, rates: list[float | None]
) -> None:
    train = Trainer(tmp_path / "run", {1.0: accuracy}, findings=False)
    repair(train(Recipe().replace(lr=1.0)), train, most=3, monitor="accuracy")
    assert train.rates == rates


def test_a_run_with_the_usual_settings_that_learned_little_is_not_trained_again(tmp_path: Path) -> None:
    train = Trainer(tmp_path / "run", {}, findings=False)
    repair(train(Recipe()), train, most=3, monitor="accuracy")
    assert train.rates == [None]


def test_an_interrupted_comparison_ends_the_repair(tmp_path: Path) -> None:
    train = Trainer(tmp_path / "run", {1.0: 0.2, 0.1: 0.5})
    repair(train(Recipe().replace(lr=1.0)), train, most=3, monitor="accuracy", compare=lambda recipe: None)
    assert train.rates == [1.0]


def test_a_short_training_has_a_tenth_of_the_epochs() -> None:
    short = short_recipe(Recipe().replace(epochs=37, head_epochs=30))
    assert short is not None
    assert (short.train.epochs, short.train.head_epochs) == (4, 3)
    assert short_recipe(Recipe().replace(epochs=3)) is None
