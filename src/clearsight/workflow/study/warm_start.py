"""Earlier studies that a new one learns from."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.errors import BadValue
from clearsight.core.study import Study, StudyPlan
from clearsight.core.trial import Trial
from clearsight.tuning.trial_store import TrialStore, read_trials, stored_trials


def import_earlier_trials(study: Study, ledger: TrialStore) -> None:
    """Enter the trials of the studies named by --warm-start that lie in this one's space, once.

    Raises NotFound for a study that is not there, BadValue for one that aimed at something else.
    """
    if any(trial.own for trial in ledger.trials()):
        return  # they were entered before the first of its own
    for source in study.plan.warm_start:
        ledger.bring(earlier_trials(source, study.plan), source)


def check_warm_start(plan: StudyPlan) -> None:
    """Raise what `bring_earlier` would, before anything is begun."""
    for source in plan.warm_start:
        earlier_trials(source, plan)


def earlier_trials(source: str, plan: StudyPlan) -> list[Trial]:
    """The trials of an earlier study: a study's folder, or a storage's URL with "#name" behind it."""
    if "://" in source:
        url, _, name = source.partition("#")
        return stored_trials(url, name)
    earlier = Study.open(Path(source))
    if earlier.plan.objectives != plan.objectives:
        told = ", ".join(f"{one.metric} ({one.direction}d)" for one in earlier.plan.objectives)
        raise BadValue(f"--warm-start {source}", f"that study aimed at {told}", fix="Say the same with --metric.")
    return read_trials(earlier)
