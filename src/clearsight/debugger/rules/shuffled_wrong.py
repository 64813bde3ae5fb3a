"""ShuffledWrong: training images come ordered by class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, Ints, PredictionTable, RunView
from clearsight.debugger.analysis.predictions import classes, pick

_BLOCK = 8  # images: smaller batches are judged together, or a pair of the same class would say too much
_IMAGES = 20_000  # that are looked at: how a sampler orders shows at the start
_SURE = 6.0  # standard errors beyond chance
_SEVERE = 0.5


class ShuffledWrong(Rule):
    """Found when images of a batch share their class far more often than in a random draw, or classes come in order.

    Compared is the share of pairs of a batch's images with the same label, with what a draw from the same labels
    gives: 0 is chance, 1 is a batch of one class. So a data set of one large and one small class is no finding, and
    neither is a sampler that draws classes evenly. The standard error is that of a U-statistic (Hoeffding 1948,
    section 5). Many classes with few images each hide from that count; there the correlation of an image's place in
    the epoch with its class number tells, which is 0 when shuffled.
    """

    explains = (
        *("LossOscillating", "LossNotDecreasing", "HeadNotLearning", "LearningRateTooHigh", "BatchNormDrift"),
        *("Overfit", "Overtraining", "UnderfitCapacity", "Confusion", "ClassImbalance", "LabelNoise"),
    )

    images: int = setting(96, "answered training images that are needed", low=16)
    max_excess: float = setting(
        0.2, "pairs of the same class beyond chance", above=0, below=1, unit="of what chance leaves"
    )
    max_order: float = setting(0.5, "correlation of an image's place in the epoch with its class", above=0, below=1)

    def needs(self) -> Needs:
        return Needs(counted="outcomes", points=self.images)

    def check(self, view: RunView) -> Iterator[Finding]:
        table = view.outcomes()
        table = pick(table, table.batches <= _last_batch(table))
        shares = _class_shares(view, table)
        if len(table) < self.images or np.count_nonzero(shares) < 2:
            cause = "" if len(table) < self.images else "only one class has come so far"
            yield self.not_enough_data(have=len(table), cause=cause)
            return
        pairs, order = _pairs(table, shares), _order(table)
        ordered = order.value >= self.max_order and order.sigmas >= _SURE
        if not ordered and not (pairs.value >= self.max_excess and pairs.sigmas >= _SURE):
            yield self.clear(value=pairs.value, threshold=self.max_excess)
            return
        yield self._finding(table, pairs, order, classes(view.facts, table))

    def _finding(self, table: PredictionTable, pairs: _Pairs, order: _Order, count: int) -> Finding:
        by_pairs = pairs.value >= self.max_excess
        sentence = (
            f"two images of a batch are of the same class in {pairs.same:.0%} of all pairs, {pairs.chance:.0%} would "
            "be chance: batches hold few classes at a time"
            if by_pairs
            else f"an image's place in the epoch tells its class (correlation {order.value:.2f}, 0 would be chance): "
            f"the {count} classes come one after the other"
        )
        return self.found(
            value=pairs.value if by_pairs else order.value,
            threshold=self.max_excess if by_pairs else self.max_order,
            severity=Severity.SEVERE if pairs.value >= _SEVERE else Severity.WARNING,
            steps=(int(table.steps[0]), int(table.steps[-1])),
            subject="labels",
            cause=sentence,
            advice="Pass shuffle=True to the training DataLoader, or shuffle the list of training images.",
            confidence=0.97,
            evidence=(
                Series.of("pairs of the same class in a batch", pairs.steps, pairs.each),
                Series.of("class by place", np.arange(len(table)), table.labels),
            ),
        )


@dataclass(frozen=True, slots=True)
class _Pairs:
    """same, chance: share of pairs with equal labels.  value: (same - chance) / (1 - chance).  steps, each: (B,)."""

    same: float
    chance: float
    sigmas: float
    steps: Ints
    each: Floats64

    @property
    def value(self) -> float:
        return (self.same - self.chance) / max(1 - self.chance, 1e-12)


@dataclass(frozen=True, slots=True)
class _Order:
    """value: absolute correlation of place and class, the median over epochs.  sigmas: of chance."""

    value: float
    sigmas: float


def _last_batch(table: PredictionTable) -> int:
    return int(table.batches[min(_IMAGES, len(table)) - 1]) if len(table) else 0


def _class_shares(view: RunView, table: PredictionTable) -> Floats64:
    """(C,) share of each class in what is drawn from: that of the data until an epoch has been seen, then as seen."""
    known = np.asarray(view.facts.class_counts, float)
    if known.sum() > len(table):
        return np.asarray(known / known.sum())
    return np.bincount(table.labels) / max(len(table), 1)


def _pairs(table: PredictionTable, shares: Floats64) -> _Pairs:
    blocks, steps = _blocks(table)
    size = int(table.labels.max()) + 1
    _, counts = np.unique(blocks * size + table.labels, return_counts=True)
    owners = np.unique(blocks * size + table.labels) // size
    n = np.bincount(blocks).astype(float)
    each = np.bincount(owners, weights=counts * (counts - 1.0), minlength=len(n)) / np.maximum(n * (n - 1), 1)
    each, n, steps = each[n > 1], n[n > 1], steps[n > 1]
    chance, cubes = float((shares**2).sum()), float((shares**3).sum())
    variance = 2 / (n * (n - 1)) * (2 * (n - 2) * (cubes - chance**2) + chance - chance**2)
    same = float(each.mean()) if len(each) else 0.0
    error = float(np.sqrt(max(variance.sum(), 0.0))) / max(len(each), 1)
    return _Pairs(same, chance, (same - chance) / max(error, 1e-12), steps, each)


def _blocks(table: PredictionTable) -> tuple[Ints, Ints]:
    """Per image the number of its block, from 0, (M,); per block its first step, (B,)."""
    per_batch = float(np.median(np.bincount(table.batches - table.batches[0])))
    blocks = (table.batches - table.batches[0]) // max(1, int(np.ceil(_BLOCK / max(per_batch, 1))))
    _, first = np.unique(blocks, return_index=True)
    return blocks, table.steps[first]


def _order(table: PredictionTable) -> _Order:
    found, images = [], []
    for epoch in np.unique(table.epochs):
        labels = table.labels[table.epochs == epoch]
        if len(labels) >= 4 * _BLOCK and labels.min() < labels.max():
            found.append(abs(float(np.corrcoef(np.arange(len(labels)), labels)[0, 1])))
            images.append(len(labels))
    if not found:
        return _Order(0.0, 0.0)
    value = float(np.median(found))
    return _Order(value, value * float(np.sqrt(np.median(images))))
