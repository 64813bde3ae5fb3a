"""Breakdown: where the numbers of a run grew by orders of magnitude, and where they stopped being numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from clearsight.core.finding import Series
from clearsight.core.view import Curve, RunView
from clearsight.debugger.analysis.parameters import fan_in, layer_weights, rms

FACTOR = 100.0  # growth over the early level that no healthy tensor shows above its floor
_CLIMB = 10.0  # over the early level: where a growth that ends above FACTOR is said to have begun
_EARLY = {"scalar": 5, "table": 3}  # points that the early level is the median of
_LASTING = {"scalar": 3, "table": 2}  # points in a row that must be too large: a spike is not a growth
_FLOOR = 1.0  # of every early level but a weight's own
_GRADIENTS = "gradients"

Floats = npt.NDArray[np.float64]
Keep = Callable[[str, str], bool]  # collection, tensor -> whether it is looked at


def everything(collection: str, name: str) -> bool:
    """Look at every tensor."""
    return True


@dataclass(frozen=True, slots=True)
class Growth:
    """A tensor that left its range and stayed out of it.

    early: its level in the beginning, not below its floor.  worst: the largest finite value.  steps: the first after
    the last calm value, and where it was last seen.
    """

    subject: str
    early: float
    worst: float
    steps: tuple[int, int]
    series: Series

    @property
    def factor(self) -> float:
        """How many times the early level the worst value is."""
        return self.worst / self.early


@dataclass(frozen=True, slots=True)
class NonFinite:
    """The first NaN or infinite value.

    where: input | layer | weight | gradient | loss.  subject: the tensor or layer, "" where only the loss is known.
    exact: whether it was watched being born, not only seen later in the loss.  passed: the losses after it are finite
    again.
    """

    step: int
    where: str
    subject: str
    exact: bool = False
    passed: bool = False


def growing_tensors(view: RunView, keep: Keep = everything, factor: float = FACTOR) -> list[Growth]:
    """Tensors that grew to more than `factor` times their early level and stayed there, the largest growth first.

    Measured are the gradient's norm at every step and, where saved, the root mean square of weights, biases and
    activations and the norm of each gradient. The early level counts as at least what a healthy tensor may have, its
    floor (1; for a weight 1 / sqrt(inputs), the size of an ordinary initialisation): a head that starts at 0 grows a
    thousandfold and is well.
    """
    broken = _first_broken(view)
    found: list[Growth] = []
    if keep(_GRADIENTS, "grad_norm"):
        found += _growth(view.scalar("grad_norm"), "grad_norm", _FLOOR, factor, broken, "scalar")
    for curve, name, floor in _tables(view, keep):
        found += _growth(curve, name, floor, factor, broken, "table")
    return sorted(found, key=lambda growth: -growth.factor)


def _tables(view: RunView, keep: Keep) -> Iterator[tuple[Curve, str, float]]:
    floors = {parameter.name: fan_in(parameter) ** -0.5 for parameter in layer_weights(view.facts)}
    sizes = {name: partial(rms, view, name) for name in ("weights", "biases", "activations")}
    for collection, read in {**sizes, _GRADIENTS: partial(view.statistic, "l2", _GRADIENTS)}.items():
        table = read()
        for i, name in enumerate(table.names):
            if keep(collection, name):
                there = ~np.isnan(table.values[:, i])
                curve = Curve(table.steps[there], table.epochs[there], table.values[there, i])
                yield curve, name, floors.get(name, _FLOOR)


def _growth(curve: Curve, name: str, floor: float, factor: float, broken: int | None, kind: str) -> Iterator[Growth]:
    numbers = np.isfinite(curve.values)
    if numbers.sum() < 2:
        return
    early = max(float(np.median(curve.values[numbers][: _EARLY[kind]])), floor)
    over = ~(curve.values <= factor * early)  # no number at all is over too
    over[: int(np.argmax(numbers))] = False
    for first, last in _runs(over):
        if not np.isfinite(curve.values[first]):
            continue  # it broke without having grown
        to_the_break = last == len(over) - 1 and broken is not None and broken >= curve.steps[first]
        if last - first + 1 >= _LASTING[kind] or to_the_break:
            calm = np.flatnonzero(curve.values[:first] <= _CLIMB * early)
            begin = int(curve.steps[calm[-1]]) + 1 if calm.size else int(curve.steps[first])
            worst = curve.values[first : last + 1]
            steps = (begin, int(curve.steps[last]))
            series = Series.of(name, curve.steps[numbers], curve.values[numbers])
            yield Growth(name, early, float(worst[np.isfinite(worst)].max()), steps, series)
            return


def _runs(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _first_broken(view: RunView) -> int | None:
    broken = [int(curve.steps[~np.isfinite(curve.values)][0]) for curve in _losses(view) if _breaks(curve)]
    return min(broken, default=None)


def _losses(view: RunView) -> list[Curve]:
    names = [name for name in view.scalars("train") if name == "loss" or name.startswith("loss_")]
    return [view.scalar(name) for name in names]


def _breaks(curve: Curve) -> bool:
    return bool(len(curve)) and not np.isfinite(curve.values).all()


def first_nonfinite(view: RunView, keep: Keep = everything, *, only_nan: bool = False) -> NonFinite | None:
    """The first value that was no number, and where; None where all were.

    A gradient that is infinite while the losses after it are finite is left out: automatic scaling of half precision
    overflows on purpose and leaves that step out. only_nan: infinite values do not count.
    """
    losses = _losses(view)
    settled = max((int(curve.steps[np.isfinite(curve.values)].max(initial=0)) for curve in losses), default=0)
    candidates = [*_in_scalars(view, keep, only_nan, settled), *_in_tables(view, keep, only_nan, settled)]
    if not only_nan:  # what is told of a birth does not say which of the two it was
        candidates += _told(view, keep)
    real = [one for one in candidates if one.where != "gradient" or _harmful(one, view, settled)]
    first = min(real, key=lambda one: (one.step, not one.exact, _ORDER.index(one.where)), default=None)
    return None if first is None else replace(first, passed=_passed(first, losses))


_ORDER = ("input", "weight", "layer", "loss", "gradient")  # what comes first in a step
_COLLECTIONS = {"activations": "layer", "weights": "weight", "biases": "weight", _GRADIENTS: "gradient"}


def _passed(one: NonFinite, losses: list[Curve]) -> bool:
    later = [curve.values[curve.steps > one.step] for curve in losses]
    return any(values.size for values in later) and all(np.isfinite(values).all() for values in later)


def _harmful(one: NonFinite, view: RunView, settled: int) -> bool:
    """Whether no finite loss follows the gradient. At the newest step that has yet to show."""
    scaled = view.facts.settings.get("precision") == "fp16"
    return one.step >= settled and (one.step < view.done() or (view.ended and not scaled))


def _told(view: RunView, keep: Keep) -> Iterator[NonFinite]:
    homes = {where: collection for collection, where in _COLLECTIONS.items()} | {"loss": "losses", "input": "inputs"}
    for event in view.events("nonfinite"):
        where = str(event.facts.get("where", "layer"))
        where = where if where in _ORDER else "layer"
        if keep(homes[where], event.subject):
            yield NonFinite(max(event.at.train_step, 1), where, event.subject, exact=True)


def _in_scalars(view: RunView, keep: Keep, only_nan: bool, settled: int) -> Iterator[NonFinite]:
    named = [("losses", "loss", "loss", curve) for curve in _losses(view)]
    for collection, name, where, curve in [*named, (_GRADIENTS, "grad_norm", "gradient", view.scalar("grad_norm"))]:
        bad = np.isnan(curve.values) if only_nan else ~np.isfinite(curve.values)
        if where == "gradient":
            bad &= curve.steps >= settled
        if keep(collection, name) and bad.any():
            yield NonFinite(int(curve.steps[bad][0]), where, "")


def _in_tables(view: RunView, keep: Keep, only_nan: bool, settled: int) -> Iterator[NonFinite]:
    for collection, where in _COLLECTIONS.items():
        table = view.statistic("nan", collection)
        bad = table.values > 0
        if not only_nan:
            bad |= view.statistic("inf", collection).values > 0
        bad &= np.array([keep(collection, name) for name in table.names], bool)
        if where == "gradient":
            bad &= (table.steps >= settled)[:, None]
        if bad.any():
            row = int(np.argmax(bad.any(axis=1)))
            yield NonFinite(int(table.steps[row]), where, table.names[int(np.argmax(bad[row]))])
