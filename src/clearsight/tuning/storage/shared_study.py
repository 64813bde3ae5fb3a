"""Check of a study in a storage that several machines share: all of them must have the same objectives and choices."""

from __future__ import annotations

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection

from clearsight.core.errors import BadValue
from clearsight.core.study import StudyPlan
from clearsight.core.trial import Direction, Objective
from clearsight.tuning.storage.conversion import distribution_of
from clearsight.tuning.storage.optuna_storage import (
    open_storage,
    quiet_optuna,
    translate_storage_errors,
    without_password,
)


def check_storage(plan: StudyPlan, name: str) -> None:
    """Raise the error that keeps the plan from using its storage.

    StudyUnavailable if the storage does not answer; BadValue if it holds a study of that name with other objectives or
    other choices.
    """
    with translate_storage_errors(plan.storage), quiet_optuna():
        storage = open_storage(plan.storage)
        if name in (study.study_name for study in storage.get_all_studies()):
            _check_same(optuna.load_study(study_name=name, storage=storage), plan)


def _check_same(stored: optuna.Study, plan: StudyPlan) -> None:
    subject = f"{without_password(plan.storage)} {stored.study_name}"
    fix = "Pass the same, or start another study with --name."
    names = stored.metric_names or [""] * len(stored.directions)  # a study of another program need not name them
    existing = [Objective(name, _direction(way)) for name, way in zip(names, stored.directions, strict=True)]
    planned = [
        Objective(objective.metric if stored.metric_names else "", objective.direction) for objective in plan.objectives
    ]
    if existing != planned:
        listed = ", ".join(f"{objective.metric or 'an objective'} ({objective.direction}d)" for objective in existing)
        raise BadValue(subject, f"that study optimizes {listed}", fix=fix)
    # Optuna itself refuses other choices only at the next proposal, by an error that names no study and no remedy.
    domains = {dimension.name: distribution_of(dimension.domain) for dimension in plan.space.dimensions}
    for trial in stored.get_trials(deepcopy=False):
        for name in domains.keys() & trial.distributions.keys():
            if not _compatible(before := trial.distributions[name], domains[name]):
                raise BadValue(subject, f"that study varies {name} over {before}", fix=fix)


def _direction(way: StudyDirection) -> Direction:
    return "minimize" if way is StudyDirection.MINIMIZE else "maximize"


def _compatible(before: BaseDistribution, current: BaseDistribution) -> bool:
    """Return True if Optuna accepts both in one study: ranges may differ, choices may not."""
    try:
        optuna.distributions.check_distribution_compatibility(before, current)
    except ValueError:
        return False
    return True
