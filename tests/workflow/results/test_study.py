"""A study has a summary of one screen, the same in a notebook, its trials and charts of its report."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.errors import BadChoice, EmptyInput
from clearsight.core.study import Study
from clearsight.core.trial import TrialState
from clearsight.workflow.open import open_study
from clearsight.workflow.results.study import TunedStudy
from tests.workflow.study_folders import BETTER, FAILED, GOOD, PRUNED, trial_result, write_study


@pytest.fixture
def study(tmp_path: Path) -> TunedStudy:
    results = [GOOD, BETTER, PRUNED, FAILED, *(trial_result(TrialState.COMPLETE, 0.5 + k / 50) for k in range(6))]
    return TunedStudy.of(Study.open(write_study(tmp_path / "photos", results).path))


def test_the_summary_fits_one_screen(study: TunedStudy) -> None:
    lines = repr(study).splitlines()
    assert lines[0] == "Study photos"
    assert len(lines) <= 10
    assert any("12 trials planned" in line and "1 pruned" in line for line in lines)
    assert repr(open_study(study.path)) == repr(study)


def test_the_notebook_lists_the_best_trials_first(study: TunedStudy) -> None:
    html = study._repr_html_()
    values = sorted((trial.values[0] for trial in study.trials if trial.values), reverse=True)
    places = [html.index(f"{value:.4f}") for value in dict.fromkeys(values)]
    assert places == sorted(places)
    assert html == open_study(study.path)._repr_html_()


def test_charts_are_those_of_the_report(study: TunedStudy) -> None:
    assert "photos" in study.plot("history").layout.title.text
    assert study.plot("importance").layout.title.text.startswith("Importance of each setting")
    assert study.plot("curves").data
    with pytest.raises(BadChoice, match="Did you mean importance"):
        study.plot("importances")


def test_too_few_trials_for_a_chart_say_how_to_go_on(tmp_path: Path) -> None:
    study = TunedStudy.of(write_study(tmp_path / "short", [GOOD]))
    with pytest.raises(EmptyInput, match=r"clearsight.resume\(.*trials=24"):
        study.plot("importance")
