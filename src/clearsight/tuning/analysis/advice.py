"""Advice for the next study: sentences with their numbers, and only what the trials support."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

from clearsight.core.errors import ClearsightError
from clearsight.core.finding import flags
from clearsight.core.format import several
from clearsight.core.recipe import Recipe
from clearsight.core.space import Choice, Dimension, FloatRange, IntRange, Value, settings_of
from clearsight.core.study import StudyPlan
from clearsight.core.trial import Objective, Trial, TrialState
from clearsight.tuning.analysis.importance import informative_trials, out_of_bag_score
from clearsight.tuning.space_syntax import format_dimension

MIN_TRIALS = 10  # complete trials for advice on settings; fewer show nothing about single settings
_EDGE = 0.05  # of a range: the best value lies at the end of it
_MIN_SHARE = 0.02  # of the variance: a setting below it has no measurable effect
_MIN_TOP_SHARE = 0.05  # of PED-ANOVA's shares: below it a setting does not set the best trials apart
_TOP = 5  # best trials that are compared with all others
_CHANCE = 0.01  # a pattern that is likelier by chance is not mentioned
_SAME_REASON = 0.2  # of the trials, and at least three of them
_MIN_GAIN = 0.01  # of the distance from the median to the best value: a smaller gain is no reason for more trials

Importance = Mapping[str, Mapping[str, float]]


def advice(plan: StudyPlan, trials: Sequence[Trial], importance: Importance) -> list[str]:
    """Return sentences of advice, the most useful first. importance: as returned by `importances`.

    With several objectives all of them are about the first. With fewer than ten complete trials the first sentence says
    so, and only common reasons of failed and pruned trials follow.
    """
    objective, complete = plan.objectives[0], informative_trials(trials, plan.space)
    ended = _common_reasons(trials)
    if len(complete) < MIN_TRIALS:
        few = f"{several(len(complete), 'complete trial')}: too few to show which setting matters; at least"
        return [f"{few} {MIN_TRIALS} are needed.", *ended] if trials else []
    ranked = sorted(complete, key=lambda trial: trial.values[0], reverse=objective.direction == "maximize")
    predictable = (out_of_bag_score(trials, plan.space) or 0.0) > 0
    shares = importance.get("fanova", {})
    sentences = [_most_important(shares, objective, len(complete), predictable=predictable)]
    sentences += _range_ends(plan, ranked, shares if predictable else {})
    shared_choices = _shared_choices(plan, ranked)
    sentences += shared_choices.values()
    if predictable:
        sentences.append(_unimportant(importance, ranked[0], shared_choices))
    sentences += [*ended, _number_of_trials(plan, trials, complete)]
    return [sentence for sentence in sentences if sentence]


def _most_important(shares: Mapping[str, float], objective: Objective, trials: int, *, predictable: bool) -> str:
    """Name the settings that explain most; if the settings predict nothing, say that no share can be trusted."""
    if not shares:
        return ""
    if not predictable:
        return (
            f"The {trials} complete trials do not show which setting matters: the settings of a trial predict its "
            f"{_metric_name(objective)} no better than the mean does."
        )
    (first, share), *others = shares.items()
    sentence = f"{first} explains {share:.0%} of the variance of {_metric_name(objective)}"
    further = [f"{name} {part:.0%}" for name, part in others[:2] if part >= _MIN_SHARE]
    sentence += f", {' and '.join(further)}" if further else ""
    interaction = 1 - sum(shares.values())
    sentence += f"; {interaction:.0%} comes from settings that act jointly" if interaction >= 0.2 else ""
    return f"{sentence} (fANOVA, {trials} complete trials)."


def _range_ends(plan: StudyPlan, ranked: Sequence[Trial], shares: Mapping[str, float]) -> list[str]:
    """Advise to widen ranges at whose end the best trial lies, if other good trials are near and the setting matters.

    By chance the best trial lies within 5 % of an end of a range one time in ten; so half of the best five must lie in
    the same quarter. A setting that explains next to nothing may lie anywhere.
    """
    sentences = []
    best, top = ranked[0], ranked[:_TOP]
    for dimension in plan.space.dimensions:
        domain, name = dimension.domain, dimension.name
        if isinstance(domain, Choice) or name not in best.params or not dimension.applies(best.params):
            continue
        if not shares.get(name, 1.0) >= _MIN_SHARE:  # fANOVA has no share for a setting of some trials only
            continue
        position = _position(domain, best.params[name])
        upper = position > 0.5
        if min(position, 1 - position) > _EDGE:
            continue
        positions = [_position(domain, trial.params[name]) for trial in top if name in trial.params]
        near = [other for other in positions if abs(other - upper) <= 0.25]
        wider = _widened(dimension, upper=upper)
        if 2 * len(near) < len(top) or wider is None:
            continue
        sentences.append(
            f"The best {name}, {_format(best.params[name])}, lies at the {'upper' if upper else 'lower'} end of its "
            f"range ({domain.low:g} to {domain.high:g}), and {len(near)} of the best {len(top)} trials lie in that "
            f'quarter: widen it, --space "{format_dimension(wider)}".'
        )
    return sentences


def _shared_choices(plan: StudyPlan, ranked: Sequence[Trial]) -> dict[str, str]:
    """Return setting -> sentence for choices that the best trials share, the others do not, and hardly by chance."""
    sentences: dict[str, str] = {}
    top = ranked[:_TOP]
    for dimension in plan.space.dimensions:
        name = dimension.name
        if not isinstance(dimension.domain, Choice) or any(name not in trial.params for trial in top):
            continue
        value = top[0].params[name]
        count = sum(trial.params.get(name) == value for trial in ranked)
        if any(trial.params[name] != value for trial in top) or count == len(ranked):
            continue
        # Hypergeometric: the chance to draw only trials with this value when the best are drawn without looking.
        chance = math.comb(count, len(top)) / math.comb(len(ranked), len(top))
        if chance >= _CHANCE:
            continue
        by_chance = f"{chance:.1%}" if chance >= 0.001 else "less than 0.1%"
        sentences[name] = (
            f"All of the best {len(top)} trials have {name} = {_format(value)}, though only {count} of "
            f"{len(ranked)} complete ones do (by chance: {by_chance}): fix it, {flags({name: value})}."
        )
    return sentences


def _unimportant(importance: Importance, best: Trial, mentioned: Container[str]) -> str:
    """Advise to fix settings that both methods call unimportant, except those that were mentioned before."""
    shares, top_shares = importance.get("fanova", {}), importance.get("ped_anova", {})
    names = [
        name
        for name, share in shares.items()
        if share < _MIN_SHARE
        and top_shares.get(name, 0.0) < _MIN_TOP_SHARE
        and name in best.params
        and name not in mentioned
    ]
    if not names or len(names) == len(shares):
        return ""
    several = len(names) > 1
    subject = f"{', '.join(names[:-1])} and {names[-1]} explain" if several else f"{names[0]} explains"
    fixed = flags({name: best.params[name] for name in names})
    return (
        f"{subject} less than {_MIN_SHARE:.0%} of the variance{' each' if several else ''}: leave "
        f"{'them' if several else 'it'} out of the search, as in the best trial: {fixed}."
    )


def _common_reasons(trials: Sequence[Trial]) -> list[str]:
    """Name reasons for which many trials failed or were pruned; reasons that differ in numbers alone are the same."""
    study_trials = [trial for trial in trials if not trial.imported]
    sentences = []
    for state, verb in ((TrialState.FAILED, "failed"), (TrialState.PRUNED, "were pruned")):
        kinds: dict[str, list[Trial]] = {}
        for trial in study_trials:
            if trial.state is state and trial.reason:
                kind = re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "#", trial.reason)
                kinds.setdefault(kind, []).append(trial)
        for same_reason in sorted(kinds.values(), key=len, reverse=True):
            count = len(same_reason)
            if count < 3 or count < _SAME_REASON * len(study_trials):
                continue
            first, such_as = same_reason[0], "such as " if len({trial.reason for trial in same_reason}) > 1 else ""
            sentences.append(
                f"{count} of {len(study_trials)} trials {verb} for the same reason ({such_as}trial {first.number}: "
                f"{first.reason.rstrip('.')}){_shared_value(same_reason, study_trials)}."
            )
    return sentences


def _shared_value(same_reason: Sequence[Trial], trials: Sequence[Trial]) -> str:
    """Name a value that all of these trials have and no complete trial has: the first suspect."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    for name, value in same_reason[0].params.items():
        if not all(name in trial.params and trial.params[name] == value for trial in same_reason):
            continue
        if complete and not any(name in trial.params and trial.params[name] == value for trial in complete):
            return f"; all of them have {name} = {_format(value)}, and no complete trial has"
    return ""


def _number_of_trials(plan: StudyPlan, trials: Sequence[Trial], complete: Sequence[Trial]) -> str:
    """Tell if fewer trials would have been enough, or if more may help. A grid has no further ones."""
    objective = plan.objectives[0]
    numbers = [trial.number for trial in sorted(trials, key=lambda trial: trial.number) if not trial.imported]
    values = [trial.values[0] for trial in complete]
    best_of = max if objective.direction == "maximize" else min
    best, median = best_of(values), sorted(values)[len(values) // 2]
    best_number = next(trial.number for trial in complete if trial.values[0] == best)
    after = len(numbers) - numbers.index(best_number) - 1
    if after > len(numbers) / 2 and len(numbers) >= 2 * MIN_TRIALS:
        return (
            f"Nothing better was found after trial {best_number}, in the last {after} of {len(numbers)} trials: "
            "fewer would have been enough."
        )
    last_third = numbers[math.ceil(len(numbers) * 2 / 3)]
    earlier = [trial.values[0] for trial in complete if trial.number < last_third]
    gain = abs(best - best_of(earlier)) if earlier else 0.0
    if plan.searcher != "grid" and gain > _MIN_GAIN * abs(best - median) and gain > 0:
        return (
            f"The best {_metric_name(objective)} still went from {best_of(earlier):.4g} to {best:.4g} in the last "
            f"third of the {len(numbers)} trials: more trials may find better settings."
        )
    return ""


def _position(domain: FloatRange | IntRange, value: Value) -> float:
    """Return the position of a value in its range, from 0 to 1; of its logarithm in a logarithmic range."""
    assert isinstance(value, int | float)
    if domain.log:
        return math.log(value / domain.low) / math.log(domain.high / domain.low)
    return (value - domain.low) / (domain.high - domain.low)


def _widened(dimension: Dimension, *, upper: bool) -> Dimension | None:
    """Return the dimension with one end further out; None if the setting allows no value there.

    A logarithmic range grows by a factor of ten, another one by half of its width, or by less if that is not allowed.
    """
    domain = dimension.domain
    assert not isinstance(domain, Choice)
    if domain.log:
        factor = min(10.0, domain.high / domain.low)
        ends = [domain.high * share if upper else domain.low / share for share in (factor, math.sqrt(factor))]
    else:
        shares = (0.5, 0.25, 0.1)
        width = domain.high - domain.low
        ends = [domain.high + share * width if upper else domain.low - share * width for share in shares]
        if not upper and domain.low > 0:  # halved instead: zero and below often mean something else, such as "off"
            ends = [max(end, domain.low / 2) for end in ends]
    for end in ends:
        moved = _with_end(domain, end, upper=upper)
        if moved is not None and _accepted(dimension.name, moved.high if upper else moved.low):
            return replace(dimension, domain=moved)
    return None


def _with_end(domain: FloatRange | IntRange, end: float, *, upper: bool) -> FloatRange | IntRange | None:
    """Return the domain with one end at `end`, rounded to its steps; None if the end does not move."""
    edge = domain.high if upper else domain.low
    if domain.step is not None and not domain.log:
        end = edge + math.copysign(max(round(abs(end - edge) / domain.step), 1) * domain.step, end - edge)
    end = round(end) if isinstance(domain, IntRange) else float(f"{end:.3g}")
    if end == edge or (domain.log and end <= 0):
        return None
    changes: dict[str, Any] = {"high" if upper else "low": end}
    return replace(domain, **changes)


def _accepted(name: str, value: Value) -> bool:
    """Return True if a recipe accepts the value."""
    try:
        Recipe().replace(**settings_of({name: value}))
    except ClearsightError:
        return False
    return True


def _metric_name(objective: Objective) -> str:
    return objective.metric.replace("_", " ")


def _format(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
