"""Importance of each setting for the objective, by two methods of Optuna: fANOVA and PED-ANOVA."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.importance import BaseImportanceEvaluator, FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.study import Study
from optuna.trial import create_trial

from clearsight.core.space import Choice, Dimension, Params, Space, Value
from clearsight.core.trial import Objective, Trial, complete_trials
from clearsight.tuning.storage.conversion import distribution_of, drawn_dimensions
from clearsight.tuning.storage.optuna_storage import quiet_optuna

MIN_TRIALS = 4  # complete trials; with fewer every setting can explain everything
_TREES = 64  # of each random forest; Optuna's default for fANOVA
_TOP = 5  # good trials that PED-ANOVA needs, as its authors advise
_SHARE = 0.1  # of the trials count as good, if that is more than _TOP


def importances(trials: Sequence[Trial], space: Space, objective: Objective) -> dict[str, dict[str, float]]:
    """Return method -> setting -> share in [0, 1], the largest first; {} if the trials are too few or too alike.

    "fanova": share of the variance of the first value that the setting explains alone, over the space as it is drawn
    (logarithmically where the range is logarithmic). The shares add up to less than 1: the rest comes from settings
    that act jointly. Only settings that every complete trial has.
    "ped_anova": difference between the setting's values in the good trials and in all trials, scaled so that the shares
    add up to 1. Good is the best tenth, but at least five trials, out of at least ten. Conditional settings are
    included if five of the good trials have them: the density of two or three values is a peak that looks like
    importance.
    Uses `informative_trials`; at least 4, and not all with the same value.
    Source: Hutter et al. 2014, "An Efficient Approach for Assessing Hyperparameter Importance" (fANOVA); Watanabe et
    al. 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces".
    """
    complete = informative_trials(trials, space)
    if len(complete) < MIN_TRIALS or len({trial.values[0] for trial in complete}) < 2:
        return {}
    methods: dict[str, dict[str, float]] = {}
    with _quiet():
        methods["fanova"] = _evaluate(FanovaImportanceEvaluator(n_trees=_TREES, seed=0), complete, space, objective)
        if len(complete) >= 2 * _TOP:
            good = max(_SHARE, _TOP / len(complete))
            shares = _evaluate(PedAnovaImportanceEvaluator(target_quantile=good), complete, space, objective)
            supported = _supported(shares, complete, objective, good)
            total = sum(supported.values())
            methods["ped_anova"] = {name: share / total for name, share in supported.items()} if total > 0 else {}
    return {method: shares for method, shares in methods.items() if any(share > 0 for share in shares.values())}


def out_of_bag_score(trials: Sequence[Trial], space: Space) -> float | None:
    """Return the out-of-bag R² of a random forest that predicts the first value: 1 is perfect, 0 as good as the mean.

    fANOVA's shares come from such a forest: if the score is not above 0, they are chance. None where `importances`
    returns nothing either.  Source: Breiman 2001, "Random Forests", section 3.1.
    """
    from sklearn.ensemble import RandomForestRegressor

    complete = informative_trials(trials, space)
    names = [name for name in space.names if all(name in trial.params for trial in complete)]
    values = [trial.values[0] for trial in complete]
    if len(complete) < MIN_TRIALS or len(set(values)) < 2 or not names:
        return None
    columns = [column for name in names for column in _columns(space, name, [trial.params for trial in complete])]
    forest = RandomForestRegressor(n_estimators=_TREES, oob_score=True, random_state=0)
    with _quiet():
        return float(forest.fit(np.array(columns, dtype=np.float64).T, values).oob_score_)


def informative_trials(trials: Sequence[Trial], space: Space) -> list[Trial]:
    """Return the complete trials of this study that lie in the space, share no result, and have a finite value."""
    return [
        trial
        for trial in complete_trials(trials)
        if trial.same_as is None and trial.values and math.isfinite(trial.values[0]) and space.contains(trial.params)
    ]


def _study(trials: Sequence[Trial], space: Space, objective: Objective, *, logged: bool) -> Study:
    """Return the trials as an Optuna study. logged: logarithmic ranges become even ranges of logarithms."""
    study = optuna.create_study(direction=objective.direction)
    for trial in trials:
        dimensions = {dimension.name: dimension for dimension in drawn_dimensions(space, trial.params)}
        params = {name: _transformed(dimensions[name], value, logged=logged) for name, value in trial.params.items()}
        study.add_trial(
            create_trial(
                value=trial.values[0],
                params=params,
                distributions={name: _distribution(dim, logged=logged) for name, dim in dimensions.items()},
            )
        )
    return study


def _evaluate(
    evaluator: BaseImportanceEvaluator, trials: Sequence[Trial], space: Space, objective: Objective
) -> dict[str, float]:
    logged = isinstance(evaluator, FanovaImportanceEvaluator)
    try:
        shares = evaluator.evaluate(_study(trials, space, objective, logged=logged))
    except RuntimeError:  # every tree of the forest predicts the same value everywhere
        return {}
    # Sorted by name too, because Optuna returns equal shares in no fixed order.
    finite = [(name, float(share)) for name, share in shares.items() if math.isfinite(share)]
    return dict(sorted(finite, key=lambda item: (-item[1], item[0])))


def _supported(
    shares: dict[str, float], trials: Sequence[Trial], objective: Objective, good: float
) -> dict[str, float]:
    """Return the shares of settings that enough of the good trials have."""
    ranked = sorted(trials, key=lambda trial: trial.values[0], reverse=objective.direction == "maximize")
    top = ranked[: max(_TOP, math.ceil(good * len(trials)))]
    return {name: share for name, share in shares.items() if sum(name in trial.params for trial in top) >= _TOP}


def _distribution(dimension: Dimension, *, logged: bool) -> BaseDistribution:
    """Return the distribution of a dimension, with an even range of logarithms for a logarithmic one if `logged`.

    fANOVA weighs every range evenly: of 1e-5 to 0.1 it would see the last decade alone.
    """
    distribution = distribution_of(dimension.domain)
    if logged and isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log:
        return FloatDistribution(math.log(distribution.low), math.log(distribution.high))
    return distribution


def _transformed(dimension: Dimension, value: Value, *, logged: bool) -> Value:
    domain = dimension.domain
    if isinstance(domain, Choice) or isinstance(value, str | None) or not (logged and domain.log):
        return value
    return min(max(math.log(value), math.log(domain.low)), math.log(domain.high))


def _columns(space: Space, name: str, trials: Sequence[Params]) -> list[list[float]]:
    """Return a setting as columns of numbers: one column for a range, one per value (one-hot) for a choice."""
    domains = [dimension.domain for dimension in space.dimensions if dimension.name == name]
    values = [params[name] for params in trials]
    if any(isinstance(domain, Choice) for domain in domains):
        return [[float(value == choice) for value in values] for choice in dict.fromkeys(values)]
    return [[float(value) for value in values if value is not None]]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna within the block: it warns of experimental methods, and of few trials as the report does."""
    with warnings.catch_warnings(), quiet_optuna():
        warnings.simplefilter("ignore")
        yield
