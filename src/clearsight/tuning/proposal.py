"""Proposals of searchers: for a study that Optuna keeps, and from trials alone for one that somebody else keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from clearsight.core.space import Params, Space
from clearsight.core.study import Searcher
from clearsight.core.trial import Objective, Trial
from clearsight.tuning.samplers import PerTrialSampler
from clearsight.tuning.storage.conversion import distribution_of, drawn_dimensions, state_to_optuna, trial_from_optuna
from clearsight.tuning.storage.optuna_storage import quiet_optuna

_NAME = "study"  # the same for every study: nothing may depend on it


def ask(study: optuna.Study, space: Space, searcher: Searcher, seed: int) -> Trial | None:
    """Add a trial with the next values to a study and return it; None once every combination has been proposed."""
    trials = study.get_trials(deepcopy=False)
    # Imported trials have numbers, but a grid or a sequence must not skip values because of them. A trial that waits
    # is one whose values are given in part.
    imported = sum("source" in frozen.user_attrs for frozen in trials)
    waiting = sum(frozen.state is optuna.trial.TrialState.WAITING for frozen in trials)
    size = searcher.size(space)
    if size is not None and len(trials) - imported - waiting >= size:
        return None
    study.sampler = PerTrialSampler(lambda number: searcher.sampler(space, seed, number - imported))
    proposal = study.ask()
    params: dict[str, Any] = {}
    for dimension in space.dimensions:
        if dimension.name not in params and dimension.applies(params):
            # The public suggest_* functions take ends and steps, and would build the distribution again.
            params[dimension.name] = proposal._suggest(dimension.name, distribution_of(dimension.domain))
    frozen = study._storage.get_trial(proposal._trial_id)
    return trial_from_optuna(frozen)


def propose(
    trials: Sequence[Trial],
    space: Space,
    objective: Objective,
    searcher: Searcher,
    seed: int,
    *,
    fixed: Params | None = None,
) -> Mapping[str, Any] | None:
    """Return the values of the trial after `trials`; None once every combination has been proposed.

    trials: all of the study in the order of their numbers, imported ones first; their values must lie in the space.
    fixed: values of some settings that the trial gets in any case.
    The result depends on nothing but the arguments.
    """
    with quiet_optuna():
        study = optuna.create_study(study_name=_NAME, direction=objective.direction)
        for trial in trials:
            study.add_trial(_frozen(trial, space))
        if fixed:
            study.enqueue_trial(dict(fixed))
        proposal = ask(study, space, searcher, seed)
    return None if proposal is None else dict(proposal.params)


def _frozen(trial: Trial, space: Space) -> optuna.trial.FrozenTrial:
    dimensions = [*drawn_dimensions(space, trial.params)]
    return optuna.trial.create_trial(
        state=state_to_optuna(trial.state),
        values=list(trial.values) or None,
        params={dimension.name: trial.params[dimension.name] for dimension in dimensions},
        distributions={dimension.name: distribution_of(dimension.domain) for dimension in dimensions},
        user_attrs={"source": trial.source} if trial.imported else {},
    )
