"""LabelNoise: the model is sure, the label says another class, and no particular one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.statistics import wilson
from clearsight.core.view import Ints, PredictionTable, RunView
from clearsight.debugger.analysis.predictions import classes, pick

_BLOCK = (200, 2000)  # images of a block: an epoch within these bounds
_SUREST = 0.3  # of a block's images
_ABOVE_CHANCE = 0.2  # accuracy beyond the largest class: the model knows something
_SURE = 0.45  # mean confidence of the surest images
_OVERCONFIDENT = 0.2  # confidence beyond accuracy: training that goes wrong, not labels
_RISE, _MANY = 1.75, 4  # how the border of `runner_up` grows with accuracy beyond chance, and with classes beyond two
_ALONE = 1.5  # of `runner_up`, where one block only says so
_EARLY, _LATER = 50, 50  # blocks of a long run that are looked at
_LISTED = 20  # images in the evidence


class LabelNoise(Rule):
    """Found when the images that the model is surest of contradict their labels nearly as often as all others do.

    On clean data, hard as it may be, mistakes gather where the model is unsure, and the right class is its runner-up.
    Labels that are wrong at random are different: before they are memorised they cap the accuracy of the surest
    images too, and the given label is no more probable than any other class (the early-learning phase: Arpit et al.
    2017, "A Closer Look at Memorization in Deep Networks"; confident disagreement: Northcutt et al. 2021, "Confident
    Learning"). Compared are blocks of an epoch's training answers, given before the model is updated on them; the first
    block is left out since there even a good model is wrong and sure. Classes that are confused with each other do not
    count: there the label is the runner-up, the more clearly the more the model knows. Two blocks must show it, or one
    beyond doubt. Of two classes there is no runner-up to tell, so that more is asked of the
    share. With mixup or cutmix labels are mixed on purpose and nothing is said.
    """

    explains = ("Overfit", "Overtraining", "LossNotDecreasing", "UnderfitCapacity", "Confusion")

    min_share: float = setting(0.1, "of the surest images, wrong by their label, at the least", above=0, below=1)
    flatness: float = setting(0.5, "share of wrong ones among the surest over that among all", above=0, high=1)
    runner_up: float = setting(1.65, "probability of the given label over that of an average other class", above=1)

    def needs(self) -> Needs:
        return Needs(counted="outcomes", points=2 * _BLOCK[0])

    def check(self, view: RunView) -> Iterator[Finding]:
        table, settings = view.outcomes(), view.facts.settings
        if settings.get("mixup") or settings.get("cutmix"):
            yield self.not_enough_data(have=0, cause="labels are mixed on purpose (mixup, cutmix)")
            return
        parts, count = list(_blocks(table)), classes(view.facts, table)
        if not parts:
            yield self.not_enough_data(have=len(table), want=max(self.needs().points, _size(table) + _BLOCK[0]))
            return
        blocks = [_measured(block, count) for block in parts]
        noisy = [block for block in blocks if self._is_noisy(block, count)]
        alone = len(noisy) == 1 and (count == 2 or noisy[0].runner_up > _ALONE)
        if not noisy or alone:
            last = blocks[-1]
            yield self.clear(value=last.share, threshold=self.min_share, unit="of the surest images")
            return
        yield self._finding(view, noisy, blocks)

    def _is_noisy(self, block: _Block, count: int) -> bool:
        return (
            block.accuracy >= block.chance + _ABOVE_CHANCE
            and block.surest_confidence >= _SURE
            and block.confidence - block.accuracy <= _OVERCONFIDENT
            and wilson(round(block.share * block.surest), block.surest).low >= self.min_share
            and block.flatness >= (self.flatness if count > 2 else max(self.flatness, 0.7))
            and (count == 2 or block.runner_up <= self._border(block, count))
        )

    def _border(self, block: _Block, count: int) -> float:
        """Of `runner_up`. A model that knows little has no clear runner-up, and of few classes none stands out."""
        return min(self.runner_up, 1 + _RISE * (block.accuracy - block.chance) * min(1.0, (count - 2) / _MANY))

    def _finding(self, view: RunView, noisy: Sequence[_Block], blocks: Sequence[_Block]) -> Finding:
        worst = max(noisy, key=lambda block: block.share)
        smoothing = float(view.facts.settings.get("label_smoothing") or 0.0)
        places = _most_at_odds([block.table for block in noisy])
        named = ", ".join(str(place) for place in places[:8])
        look = f"such as the training images {named}" if len(places) else "those that the model contradicts"
        steps = [int(block.table.steps[-1]) for block in blocks]
        return self.found(
            value=worst.share,
            threshold=self.min_share,
            unit="of the surest images",
            steps=(int(noisy[0].table.steps[0]), int(noisy[-1].table.steps[-1])),
            epoch=int(noisy[0].table.epochs[0]),
            subject="labels",
            cause=(
                f"of the {worst.surest} images that the model was surest of (confidence "
                f"{worst.surest_confidence:.2f}) {worst.share:.0%} have another label, nearly as many as of all "
                f"({1 - worst.accuracy:.0%})"
            ),
            fix={} if smoothing >= 0.1 else {"label_smoothing": 0.1},
            advice=f"Check the labels, {look}: at least every {_ordinal(1 / worst.share)} seems wrong.",
            confidence=0.9 if len(noisy) > 1 else 0.7,
            evidence=(
                Series.of("wrong among the surest", steps, [block.share for block in blocks]),
                Series.of("wrong among all", steps, [1 - block.accuracy for block in blocks]),
                *([Series.of("images most at odds", np.arange(len(places)) + 1, places)] if len(places) else []),
            ),
        )


@dataclass(frozen=True, slots=True)
class _Block:
    """A block of answers in figures. surest: images in the surest part; share: of those wrong."""

    table: PredictionTable
    accuracy: float
    chance: float
    confidence: float
    surest: int
    surest_confidence: float
    share: float
    runner_up: float

    @property
    def flatness(self) -> float:
        return self.share / max(1 - self.accuracy, 1e-12)


def _blocks(table: PredictionTable) -> Iterator[PredictionTable]:
    """Answers in blocks, in order of time, without the first, and without a rest that is too small. Of a long run the
    early ones, where labels are not memorised yet, and some of the later ones."""
    known, size = pick(table, np.isfinite(table.confidence) & np.isfinite(table.true_probability)), _size(table)
    starts = np.arange(size, len(known) - _BLOCK[0] + 1, size)
    later = np.linspace(_EARLY, max(len(starts) - 1, _EARLY), _LATER).round().astype(int)
    for start in starts if len(starts) <= _EARLY + _LATER else starts[np.unique([*range(_EARLY), *later])]:
        yield pick(known, np.arange(start, min(start + size, len(known))))


def _size(table: PredictionTable) -> int:
    """Images of a block."""
    return int(np.clip(np.count_nonzero(table.epochs == table.epochs[:1]), *_BLOCK))


def _measured(block: PredictionTable, count: int) -> _Block:
    wrong, order = block.predictions != block.labels, np.argsort(-block.confidence, kind="stable")
    surest = order[: max(1, int(_SUREST * len(block)))]
    half = order[: max(1, len(block) // 2)]
    contradicted = half[wrong[half]]
    others = (1 - block.confidence[contradicted]).sum() / max(count - 1, 1)
    return _Block(
        block,
        accuracy=float(1 - wrong.mean()),
        chance=float(np.bincount(block.labels).max() / len(block)),
        confidence=float(block.confidence.mean()),
        surest=len(surest),
        surest_confidence=float(block.confidence[surest].mean()),
        share=float(wrong[surest].mean()),
        runner_up=float(block.true_probability[contradicted].sum() / max(others, 1e-12)),
    )


def _most_at_odds(tables: Sequence[PredictionTable]) -> Ints:
    """Places in the split of the images whose label is least probable on average, always contradicted; the worst
    first."""
    indices, odds, wrong = (
        np.concatenate(parts)
        for parts in (
            [table.indices for table in tables],
            [np.log(np.maximum(table.true_probability, 1e-12)) for table in tables],
            [table.predictions != table.labels for table in tables],
        )
    )
    known = indices >= 0
    places, inverse = np.unique(indices[known], return_inverse=True)
    if not len(places):
        return np.empty(0, np.int64)
    seen = np.bincount(inverse)
    mean = np.bincount(inverse, weights=odds[known]) / seen
    always = np.bincount(inverse, weights=wrong[known]) == seen
    order = np.argsort(mean, kind="stable")
    worst: Ints = places[order[always[order]]][:_LISTED]
    return worst


def _ordinal(every: float) -> str:
    number = max(1, round(every))
    return {1: "label", 2: "second", 3: "third"}.get(number, f"{number}th")
