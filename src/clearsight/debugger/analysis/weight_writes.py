"""Writes to the weights between optimizer steps: which of them take back what the optimizer did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.view import Ints, RunView
from clearsight.debugger.analysis.epoch_scores import share_of_better
from clearsight.debugger.analysis.loss_curve import loss_curve

_REPEATED = 2  # writes: a single return is a decision, as after a test of learning rates
_EVALUATIONS = 1  # between two returns: trainings of several folds have more
_UNDONE = 0.95  # share of the optimizer's way: Lookahead leaves a fifth or more (Zhang et al. 2019)
_LEAST = 3  # writes that such a share needs
_BETTER = 0.75  # share of the epochs that are given up; a loop that returns to its best epoch gives up worse ones
_CUT = 0.5  # share of the weights that are larger than the limit to which they are cut
_OFTEN = 0.5  # share of the steps before which they are cut
_NAMED = 3  # epochs or steps that are named one by one
_RANDOM = 0.5  # share of the weights that look random, below which a model is pretrained


@dataclass(frozen=True, slots=True)
class Overwritten:
    """Writes that take back what the optimizer did. share: of its steps.  cause: in words.  severe: nothing is left."""

    share: float
    cause: str
    severe: bool = True


def may_start_be_best(context: RunContext) -> bool:
    """Return True if a loop may go back to its first weights for good reasons: pretrained ones that it evaluated."""
    share = context.random_start
    is_pretrained = bool(context.pretrained) or (context.pretrained is None and share is not None and share < _RANDOM)
    return context.loop.writes.start_evaluated and is_pretrained


def overwritten(view: RunView, share: float) -> Overwritten | None:
    """Return the writes that take back most of what the optimizer did. share: of the steps, from which it is most."""
    writes, done = view.context.loop.writes, view.done()
    returns = [(at, to) for at, to in writes.returns if at <= done]
    if returns:
        to, _ = Counter(to for _, to in returns).most_common(1)[0]
        found = _repeated(view, [at for at, goal in returns if goal == to], to)
        last = max(at for at, goal in returns if goal == to)
        if found is not None and found.share >= share and _is_worse(view, to, last):
            return found
    replaced = [at for at in writes.replaced if at <= done]
    if (found := _repeated(view, replaced, None)) is not None and found.share >= share:
        return found
    if loss_curve(view).has_learned:
        return None  # writes that do no harm: at the end of a training much of a step may go against a limit
    is_often = writes.changed > _OFTEN * writes.checked
    if is_often and writes.cut >= _CUT and view.context.loop.highest_label >= 0:
        cause = f"after every step the weights are cut to at most {writes.limit:.3g}, and {writes.cut:.0%} of them "
        return Overwritten(writes.cut, f"{cause}were larger at the start: the outputs cannot grow", severe=False)
    if not returns and not replaced and writes.changed >= _LEAST and writes.undone >= _UNDONE:
        cause = f"{writes.undone:.0%} of the way of the optimizer was taken back: something else than the optimizer "
        return Overwritten(writes.undone, f"{cause}writes the weights between its steps")
    return None


def _repeated(view: RunView, times: Sequence[int], to: int | None) -> Overwritten | None:
    """Return writes after these numbers of steps, where they come again and again. to: None for new values."""
    if len(times) < _REPEATED:
        return None
    start = to or 0
    evaluations = view.evaluations().steps
    between = [np.count_nonzero((evaluations > first) & (evaluations <= last)) for first, last in pairwise(times)]
    if np.median(between) > _EVALUATIONS:
        return None
    share = (times[-1] - start) / max(1, view.done() - start)
    goal = "to those from before the training" if to == 0 else f"to those after step {to}"
    cause = f"{_moments(view, times)} the weights were set back {goal}"
    if to is None:
        cause = f"{_moments(view, times)} all weights got other values, which have nothing to do with the trained ones"
    return Overwritten(share, f"{cause}: what the optimizer did in between is lost")


def _is_worse(view: RunView, to: int, last: int) -> bool:
    """Return True if most of what a loop gives up is better than what it returns to. last: step of the last return."""
    if to == 0:
        return not may_start_be_best(view.context)
    return share_of_better(view, to, last) >= _BETTER


def _moments(view: RunView, times: Sequence[int]) -> str:
    """Return when the writes came: before which epochs, or after which steps."""
    curve = view.scalar("loss")
    # Of the second step that follows: an epoch of a new loader is only known by the backward of its first batch.
    places = np.searchsorted(curve.steps, np.array(times), side="right") + 1
    epochs: Ints = curve.epochs[np.minimum(places, len(curve) - 1)] if len(curve) else np.zeros(0, np.int64)
    is_by_epoch = len(epochs) == len(times) and len(np.unique(epochs)) == len(times)
    word, numbers = ("before epoch", list(map(int, epochs))) if is_by_epoch else ("after step", list(times))
    if len(numbers) <= _NAMED:
        return f"{word} {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
    first = ", ".join(map(str, numbers[:_NAMED]))
    return f"{word} {first} and {len(numbers) - _NAMED} times more"
