"""How much each field matters, by two methods that ask differently; both are Optuna's."""

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
from clearsight.tuning.storage.conversion import distribution_of
from clearsight.tuning.storage.optuna_storage import quiet_optuna

LEAST = 4  # complete trials; with fewer every field can explain everything
_TREES = 64
_TOP = 5  # good trials that PED-ANOVA needs, as its authors advise
_SHARE = 0.1  # of the trials that it calls good where there are enough


def importances(trials: Sequence[Trial], space: Space, objective: Objective) -> dict[str, dict[str, float]]:
    """method -> field -> share in [0, 1], the largest first; {} where the trials cannot tell.

    "fanova": the share of the variance of the first value that the field explains alone, over the space as it is drawn
    (by orders of magnitude where it is). The shares add up to less than 1: the rest lies in how fields act together.
    Only fields that every complete trial has.
    "ped_anova": how unlike the field's values are in the good trials and in all, scaled so that the fields add up to 1.
    Good is the best tenth, but at least five trials, out of at least ten. Also conditional fields, over the trials that
    have them, where five of the good ones do: the density of two or three is a peak that looks like importance.
    Counted are own complete trials with a finite value, each recipe once; at least 4, and not all of the same value.
    Source: Hutter et al. 2014, "An Efficient Approach for Assessing Hyperparameter Importance" (fANOVA); Watanabe et
    al. 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces".
    """
    told = telling(trials, space)
    if len(told) < LEAST or len({trial.values[0] for trial in told}) < 2:
        return {}
    found: dict[str, dict[str, float]] = {}
    with _silent():
        found["fanova"] = _evaluated(FanovaImportanceEvaluator(n_trees=_TREES, seed=0), told, space, objective)
        if len(told) >= 2 * _TOP:
            good = max(_SHARE, _TOP / len(told))
            shares = _evaluated(PedAnovaImportanceEvaluator(target_quantile=good), told, space, objective)
            known = _carried(shares, told, objective, good)
            total = sum(known.values())
            found["ped_anova"] = {name: share / total for name, share in known.items()} if total > 0 else {}
    return {method: shares for method, shares in found.items() if any(share > 0 for share in shares.values())}


def predicted(trials: Sequence[Trial], space: Space) -> float | None:
    """How well the fields foretell the first value of a left-out trial: 1 is perfectly, 0 no better than the mean.

    The out-of-bag R² of the forest that fANOVA takes apart; where it is not above 0, so are its shares only chance.
    None where `importances` has nothing to say either.  Source: Breiman 2001, "Random Forests", section 3.1.
    """
    from sklearn.ensemble import RandomForestRegressor

    told = telling(trials, space)
    fields = [name for name in space.names if all(name in trial.params for trial in told)]
    values = [trial.values[0] for trial in told]
    if len(told) < LEAST or len(set(values)) < 2 or not fields:
        return None
    columns = [column for name in fields for column in _columns(space, name, [trial.params for trial in told])]
    forest = RandomForestRegressor(n_estimators=_TREES, oob_score=True, random_state=0)
    with _silent():
        return float(forest.fit(np.array(columns, dtype=np.float64).T, values).oob_score_)


def telling(trials: Sequence[Trial], space: Space) -> list[Trial]:
    """The trials that say something of the space: complete, of this study, in it, trained themselves, with a number."""
    return [
        trial
        for trial in complete_trials(trials)
        if trial.same_as is None and trial.values and math.isfinite(trial.values[0]) and space.holds(trial.params)
    ]


def _study(trials: Sequence[Trial], space: Space, objective: Objective, *, logged: bool) -> Study:
    """The trials as Optuna's. logged: ranges by orders of magnitude are given as even ranges of logarithms."""
    study = optuna.create_study(direction=objective.direction)
    for trial in trials:
        domains = {one.name: one for one in _dimensions(space, trial.params)}
        params = {name: _placed(domains[name], value, logged=logged) for name, value in trial.params.items()}
        study.add_trial(
            create_trial(
                value=trial.values[0],
                params=params,
                distributions={name: _distribution(one, logged=logged) for name, one in domains.items()},
            )
        )
    return study


def _evaluated(
    evaluator: BaseImportanceEvaluator, trials: Sequence[Trial], space: Space, objective: Objective
) -> dict[str, float]:
    logged = isinstance(evaluator, FanovaImportanceEvaluator)
    try:
        shares = evaluator.evaluate(_study(trials, space, objective, logged=logged))
    except RuntimeError:  # every tree found the same value everywhere
        return {}
    # Sorted here as well: equal shares come in no fixed order.
    known = [(name, float(share)) for name, share in shares.items() if math.isfinite(share)]
    return dict(sorted(known, key=lambda one: (-one[1], one[0])))


def _carried(shares: dict[str, float], trials: Sequence[Trial], objective: Objective, good: float) -> dict[str, float]:
    """The shares that rest on enough of the good trials."""
    best_first = sorted(trials, key=lambda one: one.values[0], reverse=objective.direction == "maximize")
    top = best_first[: max(_TOP, math.ceil(good * len(trials)))]
    return {name: share for name, share in shares.items() if sum(name in one.params for one in top) >= _TOP}


def _dimensions(space: Space, params: Params) -> Iterator[Dimension]:
    """The dimensions that a point was drawn from, one for each of its fields."""
    found: dict[str, Value] = {}
    for one in space.dimensions:
        if one.name not in found and one.applies(found):
            found[one.name] = params[one.name]
            yield one


def _distribution(dimension: Dimension, *, logged: bool) -> BaseDistribution:
    """fANOVA weighs a range evenly whatever it is drawn by: of 1e-5 to 0.1 it would see the last decade alone."""
    usual = distribution_of(dimension.domain)
    if logged and isinstance(usual, FloatDistribution | IntDistribution) and usual.log:
        return FloatDistribution(math.log(usual.low), math.log(usual.high))
    return usual


def _placed(dimension: Dimension, value: Value, *, logged: bool) -> Value:
    domain = dimension.domain
    if isinstance(domain, Choice) or isinstance(value, str | None) or not (logged and domain.log):
        return value
    return min(max(math.log(value), math.log(domain.low)), math.log(domain.high))


def _columns(space: Space, name: str, points: Sequence[Params]) -> list[list[float]]:
    """A field as numbers, a column each: one for a range, one per value for a choice."""
    domains = [one.domain for one in space.dimensions if one.name == name]
    values = [point[name] for point in points]
    if any(isinstance(domain, Choice) for domain in domains):
        return [[float(value == one) for value in values] for one in dict.fromkeys(values)]
    return [[float(value) for value in values if value is not None]]


@contextmanager
def _silent() -> Iterator[None]:
    """Optuna warns that its methods may change and that few trials say little; the page says the latter itself."""
    with warnings.catch_warnings(), quiet_optuna():
        warnings.simplefilter("ignore")
        yield
