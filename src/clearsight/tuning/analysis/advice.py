"""What a study teaches for the next one: sentences, each with its numbers; what the trials do not carry is not said."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence

from clearsight.core.errors import ClearsightError
from clearsight.core.finding import flags
from clearsight.core.recipe import Recipe
from clearsight.core.space import Choice, Dimension, FloatRange, IntRange, Value, settings_of
from clearsight.core.study import StudyPlan
from clearsight.core.trial import Objective, Trial, TrialState
from clearsight.tuning.analysis.importance import predicted, telling
from clearsight.tuning.space_syntax import format_dimension

ENOUGH = 10  # complete trials; fewer say nothing of fields
_EDGE = 0.05  # of a range
_LITTLE = 0.02  # of the variance
_LITTLE_TOP = 0.05  # of what sets the best apart
_TOP = 5  # best trials that are asked what they share
_CHANCE = 0.01  # what is likelier by chance is not said
_SAME_REASON = 0.2  # of the trials, and at least three
_CURRENT = 0.01  # of the spread between middle and best: a gain that is worth the name

Importance = Mapping[str, Mapping[str, float]]


def advice(plan: StudyPlan, trials: Sequence[Trial], importance: Importance) -> list[str]:
    """Sentences, the most useful first. importance: as `importances` gives it.

    With several objectives all speak of the first. Fewer than ten complete trials are said to be too few, and nothing
    but what ended trials is told then.
    """
    aim, told = plan.objectives[0], telling(trials, plan.space)
    ended = _ended(trials)
    if len(told) < ENOUGH:
        few = f"{_several(len(told), 'complete trial')}: too few to say which setting matters; {ENOUGH} can begin to."
        return [few, *ended] if trials else []
    ranked = sorted(told, key=lambda one: one.values[0], reverse=aim.direction == "maximize")
    carried = (predicted(trials, plan.space) or 0.0) > 0
    shares = importance.get("fanova", {})
    sentences = [_explained(shares, aim, len(told), carried=carried)]
    sentences += _edges(plan, ranked, shares if carried else {})
    agreed = _agreed(plan, ranked)
    sentences += agreed.values()
    if carried:
        sentences.append(_idle(importance, ranked[0], agreed))
    sentences += [*ended, _course(plan, trials, told, aim)]
    return [sentence for sentence in sentences if sentence]


def _explained(shares: Mapping[str, float], aim: Objective, trials: int, *, carried: bool) -> str:
    """The fields that explain most; where the forest foretells nothing, that their shares are chance."""
    if not shares:
        return ""
    if not carried:
        return (
            f"The {trials} complete trials do not show which setting matters: knowing a trial's settings foretells its "
            f"{_named(aim)} no better than the mean does."
        )
    (first, share), *others = shares.items()
    said = f"{first} explains {share:.0%} of the variance of {_named(aim)}"
    next_ones = [f"{name} {part:.0%}" for name, part in others[:2] if part >= _LITTLE]
    said += f", {' and '.join(next_ones)}" if next_ones else ""
    together = 1 - sum(shares.values())
    rest = f"; {together:.0%} lies in how settings act together" if together >= 0.2 else ""
    return f"{said}{rest} (fANOVA, {trials} complete trials)."


def _edges(plan: StudyPlan, ranked: Sequence[Trial], shares: Mapping[str, float]) -> list[str]:
    """Ranges at whose end the best trial lies, where others of the best lie near it too and the field counts.

    One best trial lies within 5 % of one of the ends of a range by chance one time in ten; so half of the best five
    must lie in the same quarter. A field that explains next to nothing lies anywhere.
    """
    sentences = []
    best, top = ranked[0], ranked[:_TOP]
    for dimension in plan.space.dimensions:
        domain, name = dimension.domain, dimension.name
        if isinstance(domain, Choice) or name not in best.params or not dimension.applies(best.params):
            continue
        if not shares.get(name, 1.0) >= _LITTLE:
            continue
        place = _place(domain, best.params[name])
        upper = place > 0.5
        if min(place, 1 - place) > _EDGE:
            continue
        near = [one for one in top if name in one.params and abs(_place(domain, one.params[name]) - upper) <= 0.25]
        wider = _widened(dimension, upper=upper)
        if 2 * len(near) < len(top) or wider is None:
            continue
        sentences.append(
            f"The best {name}, {_number(best.params[name])}, lies at the {'upper' if upper else 'lower'} end of its "
            f"range ({domain.low:g} to {domain.high:g}), and {len(near)} of the best {len(top)} trials lie in that "
            f'quarter: widen it, --space "{format_dimension(wider)}".'
        )
    return sentences


def _agreed(plan: StudyPlan, ranked: Sequence[Trial]) -> dict[str, str]:
    """field -> sentence: a choice that all of the best share though the others do not, and not easily by chance."""
    sentences: dict[str, str] = {}
    top = ranked[:_TOP]
    for dimension in plan.space.dimensions:
        name = dimension.name
        if not isinstance(dimension.domain, Choice) or any(name not in one.params for one in top):
            continue
        value = top[0].params[name]
        have = sum(one.params.get(name) == value for one in ranked)
        alone = any(one.params[name] != value for one in top) or have == len(ranked)
        chance = math.comb(have, len(top)) / math.comb(len(ranked), len(top))  # of drawing none but those
        if alone or chance >= _CHANCE:
            continue
        sentences[name] = (
            f"All of the best {len(top)} trials have {name} = {_number(value)}, though only {have} of "
            f"{len(ranked)} complete ones do (by chance: {_rare(chance)}): fix it, {flags({name: value})}."
        )
    return sentences


def _idle(importance: Importance, best: Trial, told: Container[str]) -> str:
    """Fields that both methods call unimportant, but for those told of before, with the values to fix them at."""
    shares, top = importance.get("fanova", {}), importance.get("ped_anova", {})
    idle = [
        name
        for name, share in shares.items()
        if share < _LITTLE and top.get(name, 0.0) < _LITTLE_TOP and name in best.params and name not in told
    ]
    if not idle or len(idle) == len(shares):
        return ""
    subject = f"{', '.join(idle[:-1])} and {idle[-1]} explain" if len(idle) > 1 else f"{idle[0]} explains"
    each = " each" if len(idle) > 1 else ""
    fixed = flags({name: best.params[name] for name in idle})
    return (
        f"{subject} less than {_LITTLE:.0%} of the variance{each}: leave {'them' if each else 'it'} out of the search, "
        f"as in the best trial: {fixed}."
    )


def _ended(trials: Sequence[Trial]) -> list[str]:
    """Why many trials were stopped or failed, where the reason is the same but for its numbers."""
    own = [one for one in trials if one.own]
    sentences = []
    for state, said in ((TrialState.FAILED, "failed"), (TrialState.PRUNED, "were pruned")):
        told = [one for one in own if one.state is state and one.reason]
        kinds = Counter(_kind(one.reason) for one in told)
        for kind, number in kinds.most_common():
            if number < 3 or number < _SAME_REASON * len(own):
                continue
            alike = [one for one in told if _kind(one.reason) == kind]
            like = "" if len({one.reason for one in alike}) == 1 else "such as "
            shared = _shared(alike, own)
            sentences.append(
                f"{number} of {len(own)} trials {said} for the same reason ({like}trial {alike[0].number}: "
                f"{alike[0].reason.rstrip('.')}){shared}."
            )
    return sentences


def _shared(alike: Sequence[Trial], own: Sequence[Trial]) -> str:
    """A value that all of those trials have and no complete one has: where to look first."""
    done = [one for one in own if one.state is TrialState.COMPLETE]
    for name, value in alike[0].params.items():
        if not all(name in one.params and one.params[name] == value for one in alike):
            continue
        if done and not any(name in one.params and one.params[name] == value for one in done):
            return f"; all of them have {name} = {_number(value)}, and no complete trial has"
    return ""


def _course(plan: StudyPlan, trials: Sequence[Trial], told: Sequence[Trial], aim: Objective) -> str:
    """Whether more trials promise anything, or fewer would have done. A grid has no more to try."""
    own = [one.number for one in sorted(trials, key=lambda one: one.number) if one.own]
    values = [one.values[0] for one in told]
    first = max if aim.direction == "maximize" else min
    best, middle = first(values), sorted(values)[len(values) // 2]
    found = next(one.number for one in told if one.values[0] == best)
    after = len(own) - own.index(found) - 1
    if after > len(own) / 2 and len(own) >= 2 * ENOUGH:
        return (
            f"Nothing better was found after trial {found}, in the last {after} of {len(own)} trials: "
            "fewer would have done."
        )
    last_third = own[math.ceil(len(own) * 2 / 3)]
    until = [one.values[0] for one in told if one.number < last_third]
    gained = abs(best - first(until)) if until else 0.0
    if plan.searcher != "grid" and gained > _CURRENT * abs(best - middle) and gained > 0:
        return (
            f"The best {_named(aim)} still went from {first(until):.4g} to {best:.4g} in the last third of the "
            f"{len(own)} trials: more trials may find better."
        )
    return ""


def _place(domain: FloatRange | IntRange, value: Value) -> float:
    """Where a value lies in its range, 0 to 1; by orders of magnitude where it is drawn so."""
    assert isinstance(value, int | float)
    if domain.log:
        return math.log(value / domain.low) / math.log(domain.high / domain.low)
    return (value - domain.low) / (domain.high - domain.low)


def _widened(dimension: Dimension, *, upper: bool) -> Dimension | None:
    """The range with one end further out: by a factor of ten, or by half its width; None where the field ends there."""
    domain = dimension.domain
    assert not isinstance(domain, Choice)
    if domain.log:
        factor = min(10.0, domain.high / domain.low)
        ends = [domain.high * share if upper else domain.low / share for share in (factor, math.sqrt(factor))]
    else:
        steps = (0.5, 0.25, 0.1)
        width = domain.high - domain.low
        ends = [domain.high + share * width if upper else domain.low - share * width for share in steps]
        if not upper and domain.low > 0:  # halves rather than crosses zero, which means something else
            ends = [max(end, domain.low / 2) for end in ends]
    for end in ends:
        moved = _moved(domain, end, upper=upper)
        if moved is not None and _taken(dimension.name, moved.high if upper else moved.low):
            return Dimension(name=dimension.name, domain=moved, when=dimension.when)
    return None


def _moved(domain: FloatRange | IntRange, end: float, *, upper: bool) -> FloatRange | IntRange | None:
    """The domain with one end at `end`, on its steps; None where that is where it was."""
    edge = domain.high if upper else domain.low
    if domain.step is not None and not domain.log:
        end = edge + math.copysign(max(round(abs(end - edge) / domain.step), 1) * domain.step, end - edge)
    if isinstance(domain, IntRange):
        whole = round(end)
        low, high = (domain.low, whole) if upper else (whole, domain.high)
        possible = whole != edge and (low > 0 or not domain.log)
        return IntRange(low=low, high=high, log=domain.log, step=domain.step) if possible else None
    end = float(f"{end:.3g}")
    low_end, high_end = (domain.low, end) if upper else (end, domain.high)
    return FloatRange(low=low_end, high=high_end, log=domain.log, step=domain.step) if end != edge else None


def _taken(name: str, value: Value) -> bool:
    try:
        Recipe().replace(**settings_of({name: value}))
    except ClearsightError:
        return False
    return True


def _kind(reason: str) -> str:
    return re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "#", reason)


def _rare(chance: float) -> str:
    return f"{chance:.1%}" if chance >= 0.001 else "less than 0.1%"


def _named(aim: Objective) -> str:
    return aim.metric.replace("_", " ")


def _number(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _several(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
