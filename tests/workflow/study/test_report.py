"""The page of a study can be written at any time from what lies on disk; its JSON has the promised shape."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clearsight.core.study import Study, StudyStatus
from clearsight.core.trial import TrialState
from clearsight.tuning.trial_store import read_trials
from clearsight.workflow.study.report import next_commands, rewrite_study_report, study_facts, study_json
from tests.workflow.made_runs import made_run
from tests.workflow.made_studies import (
    ACCURACY,
    BETTER,
    BROKEN,
    CUT,
    GOOD,
    PARAMETERS,
    begun_study,
    came_to,
    made_study,
)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study that is over, with a model of its best trial."""
    made = made_study(tmp_path / "photos", [GOOD, BETTER, CUT, BROKEN])
    run = made_run(made.folder(1) / "run")
    run.scores = {"valid": {"accuracy": 0.9}, "test": {"loss": 0.5, "accuracy": 0.8}}
    run.save()
    (run.bundle / "bundle.json").write_text("{}")
    params = dict(read_trials(made)[1].params)
    made.best = {"trial": 1, "value": 0.9, "values": [0.9], "params": params, "run": str(run.path)}
    made.seconds = 40.0
    made.finish(StudyStatus.COMPLETED)
    return made


def test_the_page_and_every_number_of_it(study: Study) -> None:
    page = rewrite_study_report(study)
    assert page == study.path / "report.html"
    text = page.read_text()
    assert text.lstrip().lower().startswith("<!doctype html")
    assert "photos" in text
    assert "it is behind" in text
    json.loads((study.path / "report.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert rewrite_study_report(study).read_text() == text  # of the same study the same page


@pytest.mark.parametrize("under_way", [0, 1])
def test_a_study_that_has_hardly_begun_has_a_page_too(tmp_path: Path, under_way: int) -> None:
    study = made_study(tmp_path / "photos", [], under_way=under_way)
    assert rewrite_study_report(study).is_file()


def test_the_facts_of_the_page(study: Study) -> None:
    told = study_facts(study, read_trials(study))
    assert (told.name, told.status, told.seconds) == ("photos", "completed", 40.0)
    assert told.best["test"] == {"loss": 0.5, "accuracy": 0.8}
    assert told.saved["pruned_trials"] == 1
    assert told.hypervolume == ()
    assert told.data["counts"]  # as the best run saw them


def test_several_objectives_have_a_hypervolume(tmp_path: Path) -> None:
    outcomes = [came_to(TrialState.COMPLETE, *values) for values in ((0.9, 50.0), (0.8, 10.0))]
    study = made_study(tmp_path / "photos", outcomes, objectives=(ACCURACY, PARAMETERS))
    assert len(study_facts(study, read_trials(study)).hypervolume) == 2
    assert rewrite_study_report(study).is_file()


def test_the_shape_of_the_json(study: Study) -> None:
    told = study_json(study, read_trials(study))
    json.dumps(told, allow_nan=False)
    assert set(told) == {
        *("study", "status", "reason", "direction", "metric", "objectives", "best", "trials", "saved", "seconds"),
    }
    assert (told["study"], told["status"], told["direction"], told["metric"]) == (
        str(study.path),
        "completed",
        "maximize",
        "accuracy",
    )
    assert set(told["best"]) == {"trial", "value", "values", "params", "run", "test"}
    assert told["best"]["test"]["accuracy"] == 0.8
    assert [trial["number"] for trial in told["trials"]] == [0, 1, 2, 3]
    assert set(told["trials"][0]) == {
        *("number", "state", "value", "values", "params", "seconds", "reason", "epochs", "same_as", "source"),
    }
    assert [(trial["state"], trial["value"]) for trial in told["trials"]] == [
        ("complete", 0.7),
        ("complete", 0.9),
        ("pruned", None),
        ("failed", None),
    ]
    assert told["trials"][2]["reason"] == "it is behind"
    assert set(told["saved"]) == {
        *("features_seconds", "pruned_trials", "pruned_epochs", "pruned_seconds", "answered_trials"),
    }


def test_without_a_complete_trial_there_is_no_best(tmp_path: Path) -> None:
    assert study_json(begun_study(tmp_path / "photos"), [])["best"] is None


def test_what_to_type_next(study: Study, tmp_path: Path) -> None:
    assert next_commands(study) == [
        f"clearsight train /data/photos --recipe {study.path / 'best.yaml'}",
        f"clearsight predict {study.best['run']} IMAGE...",
        f"clearsight serve {study.best['run']} --port 8080",
    ]
    (Path(study.best["run"]) / "model" / "bundle.json").unlink()
    assert next_commands(study) == [f"clearsight train /data/photos --recipe {study.path / 'best.yaml'}"]
    study.status = StudyStatus.INTERRUPTED
    assert next_commands(study) == [f"clearsight tune --resume {study.path}"]
    empty = begun_study(tmp_path / "empty")
    empty.status = StudyStatus.FAILED
    assert next_commands(empty) == []


def test_a_study_that_was_moved_finds_its_best_run(study: Study, tmp_path: Path) -> None:
    moved = study.path.rename(tmp_path / "elsewhere")
    told = study_json(Study.open(moved), [])
    assert told["best"]["test"]["accuracy"] == 0.8
