"""Believable studies, as the data of their page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.core.recipe import Recipe
from clearsight.core.trial import Trial
from clearsight.reports.study.report_data import StudyReportData
from tests.reports.study.studied import ACCURACY, SECONDS, done, plan, searched

FANOVA = {"lr": 0.71, "dropout": 0.12, "batch_size": 0.06, "warmup": 0.021, "optimizer": 0.006, "epochs": 0.004}
PED_ANOVA = {"lr": 0.62, "batch_size": 0.2, "dropout": 0.11, "warmup": 0.04, "optimizer": 0.02, "epochs": 0.01}


@pytest.fixture(scope="session")
def report() -> StudyReportData:
    """A study of 30 trials on intel-scenes, one reused from another, two from an earlier study."""
    again = replace(done(30, params=done(4).params), same_as=4, seconds=0.0, curve={}, worker=None)
    return study_report([*searched(30), again, *imported_trials()])


@pytest.fixture(scope="session")
def two_objectives() -> StudyReportData:
    """The same with accuracy and seconds as objectives, which disagree."""
    trials = [
        replace(trial, values=(trial.values[0], 5.0 + 40 * trial.values[0] ** 6 + trial.number % 7))
        if trial.values
        else trial
        for trial in searched(30)
    ]
    complete = [trial for trial in trials if trial.values]
    history = [(trial.number, 0.4 + 0.5 * (index / 21) ** 0.5) for index, trial in enumerate(complete)]
    return replace(study_report(trials), plan=plan(objectives=(ACCURACY, SECONDS)), hypervolume=history)


def imported_trials() -> list[Trial]:
    """Two trials of an earlier study."""
    return [replace(done(number), source="studies/monday", worker=None, started=0.0) for number in (31, 32)]


def study_report(trials: list[Trial]) -> StudyReportData:
    """The data of a finished study with these trials."""
    scored = [trial for trial in trials if trial.values and not trial.imported]
    best = max(scored, key=lambda trial: trial.values[0]) if scored else None
    return StudyReportData(
        name="scenes-search",
        status="completed",
        plan=plan(),
        recipe=Recipe().replace(freeze="backbone").to_yaml(),
        trials=trials,
        best={}
        if best is None
        else {
            "trial": best.number,
            "value": best.values[0],
            "values": list(best.values),
            "params": dict(best.params),
            "run": f"studies/scenes-search/trials/{best.number:04d}",
            "test": {"accuracy": 0.891, "macro_f1": 0.889, "loss": 0.34, "n": 240},
        },
        seconds=341.0,
        importance={"fanova": FANOVA, "ped_anova": PED_ANOVA},
        advice=[
            "lr explains 71% of the variance of accuracy, dropout 12% and batch_size 6% (fANOVA, 21 complete trials).",
            "The best lr, 0.0927, lies at the upper end of its range (1e-05 to 0.1), and 4 of the best 5 trials lie in "
            'that quarter: widen it, --space "lr=log(1e-05,1)".',
        ],
        saved={
            "features_seconds": 412.0,
            "pruned_trials": 7,
            "pruned_epochs": 36,
            "pruned_seconds": 80.0,
            "answered_trials": 1,
        },
        next=[
            "clearsight train data/intel-scenes --config studies/scenes-search/best.yaml",
            "clearsight tune data/intel-scenes --resume studies/scenes-search --trials 60",
        ],
        data={"path": "data/intel-scenes", "format": "folders", "fingerprint": "9c1185a5" * 8},
        versions={"clearsight": "0.1.0", "python": "3.11.4", "optuna": "5.0.0", "torch": "2.11.0"},
        hardware={"cpu": "2 cores", "memory": "24 GiB", "device": "cpu", "gpus": []},
        command=["clearsight", "tune", "data/intel-scenes", "--space", "lr=log(1e-5,1e-1)", "--trials", "30"],
    )


__all__ = ["imported_trials", "report", "study_report", "two_objectives"]
