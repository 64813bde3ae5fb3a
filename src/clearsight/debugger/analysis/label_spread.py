"""LabelSpread: are contradicted labels spread over all other classes, or do they name those that look alike?

Of a model that is wrong, the given label is mostly a class that it takes for the predicted one elsewhere too. Labels
that are wrong at random name any class. M images, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clearsight.core.view import PredictionTable
from clearsight.debugger.analysis.predictions import confusion_matrix, select_rows

Bools = npt.NDArray[np.bool_]

_SUREST = 0.5  # of the images: the others are wrong because they are hard


@dataclass(frozen=True, slots=True)
class LabelSpread:
    """rare: contradicted labels that name one of the rarer confusions.  expected: their number if drawn at random.

    images: contradicted ones of the surer half.
    """

    rare: int
    expected: float
    images: int

    @property
    def evenness(self) -> float:
        """1 where labels are spread as if drawn at random, 0 where they name the most frequent confusions alone."""
        return self.rare / self.expected if self.expected else 0.0

    @property
    def error(self) -> float:
        """Standard error of `evenness`."""
        share = self.rare / max(1, self.images)
        return math.sqrt(share * (1 - share) * self.images) / self.expected if self.expected else math.inf


def label_spread(blocks: Sequence[PredictionTable], count: int) -> LabelSpread:
    """Return the spread over blocks, in each of which an image occurs once at most. count: C, at least 3.

    Which confusions are rare is counted in one half of a block, and the labels in the other half: counted in the same
    images, those that are rare by chance would be rare by definition.
    """
    rare, expected, images = 0, 0.0, 0
    for block in blocks:
        sure = np.zeros(len(block), np.bool_)
        sure[np.argsort(-block.confidence, kind="stable")[: int(_SUREST * len(block))]] = True
        shares = np.bincount(block.labels, minlength=count) / max(1, len(block))
        even = np.arange(len(block)) % 2 == 0
        for counted, judged in ((even, ~even), (~even, even)):
            rarer = _rarer(select_rows(block, counted), shares, count)
            rows = judged & sure & (block.predictions != block.labels)
            chances = _chances(rarer, shares)[block.predictions[rows]]
            possible = chances > 0
            rare += int(rarer[block.predictions[rows], block.labels[rows]][possible].sum())
            expected += float(chances.sum())
            images += int(possible.sum())
    return LabelSpread(rare, expected, images)


def _rarer(table: PredictionTable, shares: npt.NDArray[np.float64], count: int) -> Bools:
    """Return (C, C): for each predicted class (row) the half of the other classes that it is confused with least."""
    counts = confusion_matrix(table, count)
    # A class is taken for another one about as often as the reverse; half a case keeps the order of unseen ones.
    rates = (counts + counts.T + 0.5) / np.where(shares > 0, shares, np.nan)
    np.fill_diagonal(rates, np.nan)
    order = np.argsort(rates, axis=1, kind="stable")  # NaN last: the class itself, and classes without images
    taken = np.isfinite(rates).sum(1) // 2
    rarer = np.zeros((count, count), np.bool_)
    for row, (places, size) in enumerate(zip(order, taken, strict=True)):
        rarer[row, places[:size]] = True
    return rarer


def _chances(rarer: Bools, shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (C,): the chance of a random label other than the row's class to be one of the rarer."""
    others: npt.NDArray[np.float64] = 1 - shares
    return np.where(others > 0, (rarer * shares).sum(1) / np.maximum(others, 1e-12), 0.0)
