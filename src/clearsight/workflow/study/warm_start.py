"""Warm start: the trials of earlier studies, from which the search of a new one begins."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.errors import BadValue
from clearsight.core.study import Study, StudyPlan
from clearsight.core.trial import Trial
from clearsight.tuning.trial_store import TrialStore, read_trials, stored_trials


def import_earlier_trials(study: Study, store: TrialStore) -> None:
    """Import the trials of the studies named by --warm-start that lie in this study's space, once.

    Raises NotFound for a missing study, BadValue for a study with other objectives.
    """
    # They are imported before the study proposes its first trial, so a trial of its own shows that this has happened.
    if any(not trial.imported for trial in store.trials()):
        return
    for source in study.plan.warm_start:
        store.import_trials(earlier_trials(source, study.plan), source)


def check_warm_start(plan: StudyPlan) -> None:
    """Raise the errors of `import_earlier_trials`, before the study begins."""
    for source in plan.warm_start:
        earlier_trials(source, plan)


def earlier_trials(source: str, plan: StudyPlan) -> list[Trial]:
    """Return the trials of an earlier study. source: its folder, or the URL of its storage with "#name"."""
    if "://" in source:
        url, _, name = source.partition("#")
        return stored_trials(url, name)
    earlier = Study.open(Path(source))
    if earlier.plan.objectives != plan.objectives:
        listed = ", ".join(f"{objective.metric} ({objective.direction}d)" for objective in earlier.plan.objectives)
        fix = "Use the same --metric."
        raise BadValue(f"--warm-start {source}", f"that study optimizes {listed}", fix=fix)
    return read_trials(earlier)
