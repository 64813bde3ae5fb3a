"""The section of savings: what need not be computed thanks to kept features, pruning and trials that came twice."""

from __future__ import annotations

from clearsight.core.trial import TrialState
from clearsight.reports.kit.format import count, duration, several
from clearsight.reports.kit.section import PageSection
from clearsight.reports.study.report_data import StudyReportData


def savings(facts: StudyReportData) -> PageSection | None:
    """None where nothing was saved."""
    saved = {name: value for name, value in facts.saved.items() if value > 0}
    figures: list[tuple[str, str, str]] = []
    if seconds := saved.get("features_seconds"):
        figures.append(("kept features", duration(seconds), "forward passes not made"))
    if epochs := saved.get("pruned_epochs"):
        figures.append(("pruning", several(round(epochs), "epoch"), _pruned(saved)))
    if answered := saved.get("answered_trials"):
        figures.append(("same recipe again", several(round(answered), "trial"), "answered without training"))
    if not figures:
        return None
    return PageSection(
        key="savings",
        title="Saved",
        template="study_savings.html",
        values={"about": _about(facts, saved), "figures": figures},
    )


def _pruned(saved: dict[str, float]) -> str:
    told = f"of {several(round(saved['pruned_trials']), 'trial')}" if "pruned_trials" in saved else "not trained"
    return f"{told}, about {duration(saved['pruned_seconds'])}" if "pruned_seconds" in saved else told


def _about(facts: StudyReportData, saved: dict[str, float]) -> str:
    """The sum against what was spent, where both are known; what pruning spared is an estimate."""
    spared = saved.get("features_seconds", 0.0) + saved.get("pruned_seconds", 0.0)
    spent = sum(trial.seconds for trial in facts.own)
    told = []
    if spared and spent:
        told.append(
            f"The trials took {duration(spent)} of work; without kept features and pruning it would have been about "
            f"{duration(spent + spared)}."
        )
    epochs, trained = saved.get("pruned_epochs", 0.0), sum(trial.epochs for trial in facts.own)
    if epochs:
        stopped, planned = facts.counted(TrialState.PRUNED), round(epochs) + trained
        told.append(
            f"{several(stopped, 'pruned trial')} left {count(round(epochs))} of {count(planned)} epochs untrained."
        )
    return " ".join(told)
