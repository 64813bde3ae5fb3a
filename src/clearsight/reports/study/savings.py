"""Section of the savings: work that a feature cache, pruning and repeated recipes made unnecessary."""

from __future__ import annotations

from clearsight.core.format import count, duration, several
from clearsight.core.trial import TrialState
from clearsight.reports.kit.section import PageSection
from clearsight.reports.study.report_data import StudyReportData


def savings(report: StudyReportData) -> PageSection | None:
    """Return the section; None where nothing was saved."""
    saved = {name: value for name, value in report.saved.items() if value > 0}  # a zero is no saving to show
    figures: list[tuple[str, str, str]] = []  # name, value, explanation
    if seconds := saved.get("features_seconds"):
        figures.append(("cached features", duration(seconds), "of forward passes not made"))
    if epochs := saved.get("pruned_epochs"):
        text = f"of {several(round(saved['pruned_trials']), 'trial')}" if "pruned_trials" in saved else "not trained"
        text += f", about {duration(saved['pruned_seconds'])}" if "pruned_seconds" in saved else ""
        figures.append(("pruning", several(round(epochs), "epoch"), text))
    if reused := saved.get("answered_trials"):
        figures.append(("repeated recipes", several(round(reused), "trial"), "reused without training"))
    if not figures:
        return None
    values = {"about": _about(report, saved), "figures": figures}
    return PageSection(key="savings", title="Saved", template="study/savings.html", values=values)


def _about(report: StudyReportData, saved: dict[str, float]) -> str:
    """Compare the saved time with the time of the trials, where both are known."""
    # The seconds of pruning are an estimate: nobody knows how long the pruned epochs would have taken.
    saved_seconds = saved.get("features_seconds", 0.0) + saved.get("pruned_seconds", 0.0)
    total_seconds = sum(trial.seconds for trial in report.own_trials)
    sentences = []
    if saved_seconds and total_seconds:
        sentences.append(
            f"The trials took {duration(total_seconds)}; without cached features and pruning they would have taken "
            f"about {duration(total_seconds + saved_seconds)}."
        )
    epochs, trained = saved.get("pruned_epochs", 0.0), sum(trial.epochs for trial in report.own_trials)
    if epochs:
        pruned, planned = report.count(TrialState.PRUNED), round(epochs) + trained
        sentences.append(
            f"{several(pruned, 'pruned trial')} did not train {count(round(epochs))} of {count(planned)} epochs."
        )
    return " ".join(sentences)
