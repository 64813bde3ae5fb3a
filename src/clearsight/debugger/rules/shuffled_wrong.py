"""ShuffledWrong: training images come ordered by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, Ints, PredictionTable, RunView
from clearsight.debugger.analysis.predictions import class_count, select_rows

_BLOCK = 8  # images: smaller batches are combined, or a single pair of one class would weigh too much
_IMAGES = 20_000  # that are judged: how a sampler orders images shows at the start
_SIGMAS = 6.0  # standard errors from chance
_SEVERE = 0.5  # of what chance leaves: batches hold hardly more than one or two classes


class ShuffledWrong(Rule):
    """Found when images of a batch share their class far more often than by chance, or classes come in order.

    The rule compares the share of pairs with the same label in a batch with that in a draw from the same labels: 0 is
    chance, 1 is a batch of one class. So neither a dataset of one large and one small class nor a sampler that draws
    classes evenly is found. The standard error is that of a U-statistic (Hoeffding 1948, section 5). This count misses
    many classes with few images each; there the correlation of an image's place in the epoch with its class index shows
    the order, which is 0 after shuffling. Labels that are all equal to the end are found too. SageMaker has no such
    rule.
    """

    explains = (
        *("LossOscillating", "LossNotDecreasing", "NotLearning", "LearningRateTooHigh", "BatchNormDrift"),
        *("Overfit", "Overtraining", "UnderfitCapacity", "Confusion", "ClassImbalance", "LabelNoise"),
        *("LossInputMismatch", "DataLeak"),
    )

    images: int = setting(96, "training predictions that are needed", low=16, aliases=("pictures",))
    max_excess: float = setting(
        0.2, "excess of pairs of the same class", above=0, below=1, unit="of the range above chance"
    )
    max_order: float = setting(0.5, "correlation of an image's place in the epoch with its class", above=0, below=1)

    def needs(self) -> Needs:
        return Needs(counted="predictions", points=self.images)

    def check(self, view: RunView) -> list[Finding]:
        table = view.predictions()
        last_batch = table.batches[min(_IMAGES, len(table)) - 1] if len(table) else 0
        table = select_rows(table, table.batches <= last_batch)
        shares = _class_shares(view, table)
        if len(table) < self.images or np.count_nonzero(shares) < 2:
            if len(table) >= self.images and view.ended and view.context.loop.width > 1:
                return [self._one_class(table)]
            cause = "" if len(table) < self.images else "only one class was drawn so far"
            return [self.not_enough_data(have=len(table), cause=cause)]
        pairs, (order, order_sigmas) = _pairs(table, shares), _order(table)
        ordered = order >= self.max_order and order_sigmas >= _SIGMAS
        if not ordered and not (pairs.value >= self.max_excess and pairs.sigmas >= _SIGMAS):
            return [self.clear(value=pairs.value, threshold=self.max_excess)]
        by_pairs = pairs.value >= self.max_excess
        cause = (
            f"{pairs.same:.0%} of the pairs of images in a batch have the same class, where chance gives "
            f"{pairs.chance:.0%}: batches hold few classes at a time"
            if by_pairs
            else f"an image's place in the epoch correlates with its class ({order:.2f}; shuffled: 0): "
            f"the {class_count(view.context, table)} classes come one after the other"
        )
        finding = self.found(
            value=pairs.value if by_pairs else order,
            threshold=self.max_excess if by_pairs else self.max_order,
            severity=Severity.SEVERE if pairs.value >= _SEVERE else Severity.WARNING,
            steps=(table.steps[0], table.steps[-1]),
            subject="labels",
            cause=cause,
            advice="Pass shuffle=True to the training DataLoader, or shuffle the list of training images.",
            confidence=0.97,
            evidence=(
                Series.of("pairs of the same class in a batch", pairs.steps, pairs.each),
                Series.of("class by place", np.arange(len(table)), table.labels),
            ),
        )
        return [finding]

    def _one_class(self, table: PredictionTable) -> Finding:
        label = int(table.labels[0])
        return self.found(
            value=1.0,
            threshold=self.max_excess,
            severity=Severity.SEVERE,
            steps=(table.steps[0], table.steps[-1]),
            subject="labels",
            cause=f"all {len(table):,} training labels of the run are {label}: the model can learn nothing but that",
            advice="Check how labels are read, and that the training split holds images of every class.",
            confidence=0.97,
            evidence=Series.of("class by place", np.arange(len(table)), table.labels),
        )


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs of images with equal labels."""

    same: float  # their share
    chance: float  # their share by chance
    sigmas: float  # standard errors from chance
    steps: Ints  # (B,), the first of each block
    each: Floats64  # (B,), share in each block

    @property
    def value(self) -> float:
        """Share of the range above chance."""
        return (self.same - self.chance) / max(1 - self.chance, 1e-12)


def _class_shares(view: RunView, table: PredictionTable) -> Floats64:
    """Return the share of each class, (C,): that of the data until an epoch has passed, then as drawn."""
    known = np.asarray(view.context.class_counts, float)
    if known.sum() > len(table):  # until an epoch has passed, the images so far may lack whole classes
        return np.asarray(known / known.sum())
    return np.bincount(table.labels) / max(len(table), 1)


def _pairs(table: PredictionTable, shares: Floats64) -> _Pairs:
    blocks, steps = _blocks(table)
    size = int(table.labels.max()) + 1
    _, counts = np.unique(blocks * size + table.labels, return_counts=True)
    owners = np.unique(blocks * size + table.labels) // size
    sizes = np.bincount(blocks).astype(float)
    equal = np.bincount(owners, weights=counts * (counts - 1.0), minlength=len(sizes))
    each = equal / np.maximum(sizes * (sizes - 1), 1)
    each, sizes, steps = each[sizes > 1], sizes[sizes > 1], steps[sizes > 1]
    chance, cubes = float((shares**2).sum()), float((shares**3).sum())
    # Variance of a U-statistic: `chance` and `cubes` are the chances of two and of three equal labels in a draw.
    variance = 2 / (sizes * (sizes - 1)) * (2 * (sizes - 2) * (cubes - chance**2) + chance - chance**2)
    same = float(each.mean()) if len(each) else 0.0
    error = float(np.sqrt(max(variance.sum(), 0.0))) / max(len(each), 1)
    return _Pairs(same, chance, (same - chance) / max(error, 1e-12), steps, each)


def _blocks(table: PredictionTable) -> tuple[Ints, Ints]:
    """Return the index of each image's block, (M,), and the first step of each block, (B,)."""
    per_batch = float(np.median(np.bincount(table.batches - table.batches[0])))
    blocks = (table.batches - table.batches[0]) // max(1, int(np.ceil(_BLOCK / max(per_batch, 1))))
    _, first = np.unique(blocks, return_index=True)
    return blocks, table.steps[first]


def _order(table: PredictionTable) -> tuple[float, float]:
    """Return the correlation of place and class, the median of absolutes by epoch, and its standard errors from 0."""
    correlations, images = [], []
    for epoch in np.unique(table.epochs):
        labels = table.labels[table.epochs == epoch]
        if len(labels) >= 4 * _BLOCK and labels.min() < labels.max():
            correlations.append(abs(float(np.corrcoef(np.arange(len(labels)), labels)[0, 1])))
            images.append(len(labels))
    if not correlations:
        return 0.0, 0.0
    value = float(np.median(correlations))
    return value, value * float(np.sqrt(np.median(images)))
