"""A study in a storage that several machines share: whether what one of them asks is what the others ask."""

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
    storage_errors_as_ours,
    without_password,
)


def check_storage(plan: StudyPlan, name: str) -> None:
    """Raise StudyUnavailable where the plan's storage does not answer, BadValue where the study of that name in it aims
    at something else or has other choices."""
    with storage_errors_as_ours(plan.storage), quiet_optuna():
        storage = open_storage(plan.storage)
        if name in (one.study_name for one in storage.get_all_studies()):
            _check_same(optuna.load_study(study_name=name, storage=storage), plan)


def _check_same(kept: optuna.Study, plan: StudyPlan) -> None:
    what, fix = f"{without_password(plan.storage)} {kept.study_name}", "Say the same, or begin another study by --name."
    names = kept.metric_names or [""] * len(kept.directions)  # a study of somebody else's need not name them
    there = [Objective(name, _direction(way)) for name, way in zip(names, kept.directions, strict=True)]
    wanted = [Objective(one.metric if kept.metric_names else "", one.direction) for one in plan.objectives]
    if there != wanted:
        aims = ", ".join(f"{one.metric or 'an objective'} ({one.direction}d)" for one in there)
        raise BadValue(what, f"that study aims at {aims}", fix=fix)
    domains = {one.name: distribution_of(one.domain) for one in plan.space.dimensions}
    for trial in kept.get_trials(deepcopy=False):
        for name in domains.keys() & trial.distributions.keys():
            if not _compatible(before := trial.distributions[name], domains[name]):
                raise BadValue(what, f"that study has {name} as {before}", fix=fix)


def _direction(way: StudyDirection) -> Direction:
    return "minimize" if way is StudyDirection.MINIMIZE else "maximize"


def _compatible(before: BaseDistribution, now: BaseDistribution) -> bool:
    """Whether both can stand in one study: ranges may differ, choices may not."""
    try:
        optuna.distributions.check_distribution_compatibility(before, now)
    except ValueError:
        return False
    return True
