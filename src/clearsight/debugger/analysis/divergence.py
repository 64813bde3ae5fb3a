"""Divergence: tensors that grew by orders of magnitude, and the first value that was NaN or infinite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from clearsight.core.finding import Series
from clearsight.core.view import Curve, RunView
from clearsight.debugger.analysis.tensors import fan_in, layer_weights, rms

FACTOR = 100.0  # growth over the early level that no healthy tensor shows above its floor
_CLIMB = 10.0  # times the early level: where a growth that ends above FACTOR began
_EARLY_POINTS = {"scalar": 5, "table": 3}  # the early level is their median
_LASTING_POINTS = {"scalar": 3, "table": 2}  # points in a row that must be too large: a spike is not a growth
_FLOOR = 1.0  # least early level of every tensor but a weight, which has a floor of its own
_GRADIENTS = "gradients"
_PLACES = ("input", "weight", "layer", "loss", "gradient")  # in the order in which a step computes them
_COLLECTIONS = {"activations": "layer", "weights": "weight", "biases": "weight", _GRADIENTS: "gradient"}

TensorFilter = Callable[[str, str], bool]  # (collection, tensor) -> True to include the tensor


def all_tensors(collection: str, name: str) -> bool:
    """Include every tensor."""
    return True


@dataclass(frozen=True, slots=True)
class Growth:
    """A tensor that left its range and stayed outside."""

    subject: str
    early: float  # its level in the beginning, not below its floor
    worst: float  # the largest finite value
    steps: tuple[int, int]  # the first after the last calm value, and the last one that was saved
    series: Series

    @property
    def factor(self) -> float:
        """Worst value over the early level."""
        return self.worst / self.early


@dataclass(frozen=True, slots=True)
class NonFinite:
    """The first NaN or infinite value of a run."""

    step: int
    place: str  # input | layer | weight | gradient | loss
    subject: str  # the tensor or layer, "" where only the loss is known
    exact: bool = False  # True if the step itself was traced, not only a later loss
    recovered: bool = False  # True if later losses are finite


def growing_tensors(view: RunView, include: TensorFilter = all_tensors, factor: float = FACTOR) -> list[Growth]:
    """Return the tensors that grew to more than `factor` times their early level and stayed there, worst first.

    It measures the gradient's norm at every step and, where saved, the root mean square of weights, biases and
    activations and the norm of each gradient. The early level counts as at least what a healthy tensor may have, its
    floor (1; for a weight 1 / sqrt(inputs), the size of an ordinary initialisation): a head that starts at 0 grows a
    thousandfold in a healthy run.
    """
    broken = [curve.steps[~np.isfinite(curve.values)] for curve in _losses(view)]
    first_broken = min((int(steps[0]) for steps in broken if steps.size), default=None)
    growths = [_growth(*size, factor, first_broken) for size in _sizes(view, include)]
    return sorted(filter(None, growths), key=lambda growth: -growth.factor)


def _sizes(view: RunView, include: TensorFilter) -> Iterator[tuple[str, Curve, str, float]]:
    """Yield the kind ("scalar" or "table"), the size over time, the name and the floor of each tensor."""
    if include(_GRADIENTS, "grad_norm"):
        yield "scalar", view.scalar("grad_norm"), "grad_norm", _FLOOR
    floors = {parameter.name: fan_in(parameter) ** -0.5 for parameter in layer_weights(view.context)}
    for collection in ("weights", "biases", "activations", _GRADIENTS):
        table = view.statistic("l2", collection) if collection == _GRADIENTS else rms(view, collection)
        for i, name in enumerate(table.names):
            if include(collection, name):
                saved = ~np.isnan(table.values[:, i])
                curve = Curve(table.steps[saved], table.epochs[saved], table.values[saved, i])
                yield "table", curve, name, floors.get(name, _FLOOR)


def _growth(kind: str, curve: Curve, name: str, floor: float, factor: float, broken: int | None) -> Growth | None:
    """Return the first growth of a curve that lasts, if any. broken: first step whose loss is not finite."""
    finite = np.isfinite(curve.values)
    if finite.sum() < 2:
        return None
    early = max(float(np.median(curve.values[finite][: _EARLY_POINTS[kind]])), floor)
    over = ~(curve.values <= factor * early)  # written so that NaN counts as over
    over[: int(np.argmax(finite))] = False
    for first, last in _true_runs(over):
        if not np.isfinite(curve.values[first]):
            continue  # it became NaN or infinite without growing before
        until_break = last == len(over) - 1 and broken is not None and broken >= curve.steps[first]
        if last - first + 1 >= _LASTING_POINTS[kind] or until_break:
            calm = np.flatnonzero(curve.values[:first] <= _CLIMB * early)
            begin = int(curve.steps[calm[-1]]) + 1 if calm.size else int(curve.steps[first])
            worst = curve.values[first : last + 1]
            steps = (begin, int(curve.steps[last]))
            series = Series.of(name, curve.steps[finite], curve.values[finite])
            return Growth(name, early, float(worst[np.isfinite(worst)].max()), steps, series)
    return None


def _true_runs(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _losses(view: RunView) -> list[Curve]:
    names = [name for name in view.scalars("train") if name == "loss" or name.startswith("loss_")]
    return [view.scalar(name) for name in names]


def first_nonfinite(view: RunView, include: TensorFilter = all_tensors, *, only_nan: bool = False) -> NonFinite | None:
    """Return the first value that is not finite, and its place; None where all values are finite.

    A gradient that is infinite while the losses after it are finite is left out: automatic scaling of half precision
    overflows on purpose and skips that step. only_nan: infinite values do not count.
    """
    losses = _losses(view)
    last_finite = max((int(curve.steps[np.isfinite(curve.values)].max(initial=0)) for curve in losses), default=0)
    candidates = [*_in_scalars(view, include, only_nan, last_finite), *_in_tables(view, include, only_nan, last_finite)]
    if not only_nan:  # an event does not record which of NaN and infinity it was
        candidates += _in_events(view, include)
    harmful = [value for value in candidates if value.place != "gradient" or _is_harmful(value, view, last_finite)]
    first = min(harmful, key=lambda value: (value.step, not value.exact, _PLACES.index(value.place)), default=None)
    if first is None:
        return None
    later = [curve.values[curve.steps > first.step] for curve in losses]
    recovered = any(values.size for values in later) and all(np.isfinite(values).all() for values in later)
    return replace(first, recovered=recovered)


def _is_harmful(gradient: NonFinite, view: RunView, last_finite: int) -> bool:
    """Return True if no finite loss follows the gradient. At the newest step that is not known yet."""
    scaled = view.context.settings.get("precision") == "fp16"
    return gradient.step >= last_finite and (gradient.step < view.done() or (view.ended and not scaled))


def _in_events(view: RunView, include: TensorFilter) -> Iterator[NonFinite]:
    """Yield the values whose step was traced while the run went on."""
    collections = {place: name for name, place in _COLLECTIONS.items()} | {"loss": "losses", "input": "inputs"}
    for event in view.events("nonfinite"):
        place = str(event.details.get("where", "layer"))
        place = place if place in _PLACES else "layer"
        if include(collections[place], event.subject):
            yield NonFinite(max(event.at.train_step, 1), place, event.subject, exact=True)


def _in_scalars(view: RunView, include: TensorFilter, only_nan: bool, last_finite: int) -> Iterator[NonFinite]:
    losses = [("losses", "loss", "loss", curve) for curve in _losses(view)]
    for collection, name, place, curve in [*losses, (_GRADIENTS, "grad_norm", "gradient", view.scalar("grad_norm"))]:
        bad = np.isnan(curve.values) if only_nan else ~np.isfinite(curve.values)
        if place == "gradient":
            bad &= curve.steps >= last_finite
        if include(collection, name) and bad.any():
            yield NonFinite(int(curve.steps[bad][0]), place, "")


def _in_tables(view: RunView, include: TensorFilter, only_nan: bool, last_finite: int) -> Iterator[NonFinite]:
    for collection, place in _COLLECTIONS.items():
        table = view.statistic("nan", collection)
        bad = table.values > 0
        if not only_nan:
            bad |= view.statistic("inf", collection).values > 0
        bad &= np.array([include(collection, name) for name in table.names], bool)
        if place == "gradient":
            bad &= (table.steps >= last_finite)[:, None]
        if bad.any():
            row = int(np.argmax(bad.any(axis=1)))
            yield NonFinite(int(table.steps[row]), place, table.names[int(np.argmax(bad[row]))])
