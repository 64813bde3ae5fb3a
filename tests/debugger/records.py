"""Records for tests of the storage: random from a seed, compared to the last bit."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clearsight.core.tensors import (
    BINS,
    COLLECTIONS,
    MODES,
    STATISTICS,
    Event,
    Mode,
    Moment,
    PredictionRecord,
    RawTensor,
    SavedRecord,
    Scalars,
    Snapshot,
)


def at(step: int, mode: Mode = "train", *, epoch: int = 1, train_step: int | None = None) -> Moment:
    """A moment; the training step equals the step by default."""
    return Moment(mode, step, epoch, step if train_step is None else train_step)


def scalars(step: int, mode: Mode = "train", **values: float) -> Scalars:
    """Named numbers, by default a loss."""
    return Scalars(at(step, mode), values or {"loss": 1 / step})


def snapshot(step: int, names: tuple[str, ...] = ("a.weight", "b.weight"), mode: Mode = "train") -> Snapshot:
    """Statistics and histograms of some weights, of numbers that follow from the step."""
    draw = np.random.default_rng(step)
    table = draw.normal(size=(len(names), len(STATISTICS))).astype(np.float32)
    counts = draw.integers(0, 9, (len(names), BINS)).astype(np.float32)
    return Snapshot(at(step, mode), names, ("weights",) * len(names), table, counts)


def predictions(step: int, mode: Mode = "train", size: int = 3) -> PredictionRecord:
    """Predictions of a batch."""
    draw = np.random.default_rng(step)
    labels, classes = draw.integers(0, 9, size), draw.integers(0, 9, size)
    confidence, true = draw.random((2, size), dtype=np.float32)
    return PredictionRecord(at(step, mode), labels, classes, confidence, true, np.arange(size))


def raw(step: int, name: str = "input_channels", mode: Mode = "train") -> RawTensor:
    """A whole tensor (3, 4)."""
    value = np.random.default_rng(step).random((3, 4), dtype=np.float32)
    return RawTensor(at(step, mode), name, "inputs", value)


def event(step: int) -> Event:
    """An event."""
    return Event(at(step), "nonfinite", "fc", {"where": "layer"})


def one_of_each(step: int) -> list[SavedRecord]:
    """One of each kind."""
    return [scalars(step), snapshot(step), predictions(step), raw(step), event(step)]


def plain(value: Any) -> Any:
    """A record as values that compare by what is in them: arrays by type, shape and bytes."""
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.shape, value.tobytes())
    if isinstance(value, (Scalars, Snapshot, PredictionRecord, RawTensor, Event)):
        return (type(value).__name__, *(plain(getattr(value, field.name)) for field in fields(value)))
    if isinstance(value, dict):
        return [(key, plain(inner)) for key, inner in value.items()]
    return repr(value) if isinstance(value, float) else value


def plains(records: Any) -> list[Any]:
    """`plain` of each."""
    return [plain(record) for record in records]


_floats = st.floats(width=32)
_moments = st.builds(Moment, st.sampled_from(MODES), st.integers(1, 10**6), st.integers(1, 99), st.integers(0, 40))
_numbers = st.dictionaries(st.text(max_size=9), st.floats(), max_size=3)
_plain_json = st.dictionaries(
    st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=5), st.floats()), max_size=2
)


def _array(kind: Any, shape: Any) -> st.SearchStrategy[Any]:
    return hnp.arrays(kind, shape)


@st.composite
def _snapshots(draw: st.DrawFn) -> Snapshot:
    names = tuple(draw(st.lists(st.text(max_size=6), max_size=3, unique=True)))
    kinds = tuple(draw(st.sampled_from(COLLECTIONS)) for _ in names)
    table = draw(_array(np.float32, (len(names), len(STATISTICS))))
    counts = draw(st.none() | _array(np.float32, (len(names), BINS)))
    return Snapshot(draw(_moments), names, kinds, table, counts)


@st.composite
def _predictions(draw: st.DrawFn) -> PredictionRecord:
    size = draw(st.integers(0, 3))
    whole, parts = _array(np.int64, size), _array(np.float32, size)
    return PredictionRecord(draw(_moments), draw(whole), draw(whole), draw(parts), draw(parts), draw(whole))


_kinds = st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int64, np.uint8, np.uint64, np.bool_])
_raws = st.builds(
    RawTensor,
    _moments,
    st.text(max_size=9),
    st.sampled_from(COLLECTIONS),
    _array(_kinds, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)),
)

any_record: st.SearchStrategy[SavedRecord] = st.one_of(
    st.builds(Scalars, _moments, _numbers),
    _snapshots(),
    _predictions(),
    _raws,
    st.builds(Event, _moments, st.text(max_size=9), st.text(max_size=9), _plain_json),
)
