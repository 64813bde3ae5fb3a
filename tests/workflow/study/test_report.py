"""The page of a study can be written at any time from what lies on disk; its JSON has the promised shape."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clearsight.core.study import Study, StudyStatus
from clearsight.core.trial import TrialState
from clearsight.tuning.trial_store import read_trials
from clearsight.workflow.study.report import next_commands, rewrite_study_report, study_json, study_report_data
from tests.workflow.run_folders import write_run
from tests.workflow.study_folders import (
    ACCURACY,
    BETTER,
    FAILED,
    GOOD,
    PARAMETERS,
    PRUNED,
    begin_study,
    trial_result,
    write_study,
)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study that is over, with a model of its best trial."""
    study = write_study(tmp_path / "photos", [GOOD, BETTER, PRUNED, FAILED])
    run = write_run(study.folder(1) / "run")
    run.scores = {"valid": {"accuracy": 0.9}, "test": {"loss": 0.5, "accuracy": 0.8}}
    run.save()
    (run.bundle / "bundle.json").write_text("{}")
    params = dict(read_trials(study)[1].params)
    study.best = {"trial": 1, "value": 0.9, "values": [0.9], "params": params, "run": str(run.path)}
    study.seconds = 40.0
    study.finish(StudyStatus.COMPLETED)
    return study


def test_the_page_and_its_numbers(study: Study) -> None:
    page = rewrite_study_report(study)
    assert page == study.path / "report.html"
    text = page.read_text()
    assert text.lstrip().lower().startswith("<!doctype html")
    assert "photos" in text
    assert "it is worse than the others" in text
    json.loads((study.path / "report.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert rewrite_study_report(study).read_text() == text  # of the same study the same page


@pytest.mark.parametrize("under_way", [0, 1])
def test_a_study_without_results_has_a_page_too(tmp_path: Path, under_way: int) -> None:
    study = write_study(tmp_path / "photos", [], running=under_way)
    assert rewrite_study_report(study).is_file()


def test_the_data_of_the_page(study: Study) -> None:
    values = study_report_data(study, read_trials(study))
    assert (values.name, values.status, values.seconds) == ("photos", "completed", 40.0)
    assert values.best["test"] == {"loss": 0.5, "accuracy": 0.8}
    assert values.saved["pruned_trials"] == 1
    assert values.hypervolume == ()
    assert values.data["counts"]  # as the best run saw them


def test_several_objectives_have_a_hypervolume(tmp_path: Path) -> None:
    outcomes = [trial_result(TrialState.COMPLETE, *values) for values in ((0.9, 50.0), (0.8, 10.0))]
    study = write_study(tmp_path / "photos", outcomes, objectives=(ACCURACY, PARAMETERS))
    assert len(study_report_data(study, read_trials(study)).hypervolume) == 2
    assert rewrite_study_report(study).is_file()


def test_the_shape_of_the_json(study: Study) -> None:
    values = study_json(study, read_trials(study))
    json.dumps(values, allow_nan=False)
    assert set(values) == {
        *("study", "status", "reason", "direction", "metric", "objectives", "best", "trials", "saved", "seconds"),
        "failed_steps",
    }
    assert (values["study"], values["status"], values["direction"], values["metric"]) == (
        str(study.path),
        "completed",
        "maximize",
        "accuracy",
    )
    assert set(values["best"]) == {"trial", "value", "values", "params", "run", "test"}
    assert values["best"]["test"]["accuracy"] == 0.8
    assert [trial["number"] for trial in values["trials"]] == [0, 1, 2, 3]
    assert set(values["trials"][0]) == {
        *("number", "state", "value", "values", "params", "seconds", "reason", "epochs", "same_as", "source"),
    }
    assert [(trial["state"], trial["value"]) for trial in values["trials"]] == [
        ("complete", 0.7),
        ("complete", 0.9),
        ("pruned", None),
        ("failed", None),
    ]
    assert values["trials"][2]["reason"] == "it is worse than the others"
    assert set(values["saved"]) == {
        *("features_seconds", "pruned_trials", "pruned_epochs", "pruned_seconds", "answered_trials"),
    }


def test_without_a_complete_trial_there_is_no_best(tmp_path: Path) -> None:
    assert study_json(begin_study(tmp_path / "photos"), [])["best"] is None


def test_next_commands(study: Study, tmp_path: Path) -> None:
    assert next_commands(study) == [
        f"clearsight train /data/photos --recipe {study.path / 'best.yaml'}",
        f"clearsight predict {study.best['run']} IMAGE...",
        f"clearsight serve {study.best['run']} --port 8080",
    ]
    (Path(study.best["run"]) / "model" / "bundle.json").unlink()
    assert next_commands(study) == [f"clearsight train /data/photos --recipe {study.path / 'best.yaml'}"]
    study.status = StudyStatus.INTERRUPTED
    assert next_commands(study) == [f"clearsight tune --resume {study.path}"]
    empty = begin_study(tmp_path / "empty")
    empty.status = StudyStatus.FAILED
    assert next_commands(empty) == []


def test_a_study_that_was_moved_finds_its_best_run(study: Study, tmp_path: Path) -> None:
    moved = study.path.rename(tmp_path / "elsewhere")
    values = study_json(Study.open(moved), [])
    assert values["best"]["test"]["accuracy"] == 0.8
