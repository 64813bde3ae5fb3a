"""LabelNoise: the model is sure, and the label names another class, no particular one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.label_check import LabelCheck
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.statistics import wilson
from clearsight.core.view import Ints, PredictionTable, RunView
from clearsight.debugger.analysis.label_relation import label_relation, random_agreement
from clearsight.debugger.analysis.label_spread import label_spread
from clearsight.debugger.analysis.predictions import class_count, select_rows
from clearsight.debugger.analysis.thumbnails import both_thumbnails

_BLOCK = (200, 2000)  # bounds of the images in a block, which is an epoch within them
_SUREST = 0.3  # of a block's images
_SKILL = 0.2  # accuracy beyond the share of the largest class: the model knows something
_MIN_CONFIDENCE = 0.45  # mean confidence of the surest images
_OVERCONFIDENT = 0.2  # confidence beyond accuracy: a fault of the training, not of the labels
_RISE, _MANY = 1.75, 4  # growth of the limit of `runner_up` with accuracy beyond chance, and with classes beyond two
_SINGLE_BLOCK = 1.5  # limit of `runner_up` where only one block shows it
# How even contradicted labels are (`label_spread`): of weak networks 0.3 to 0.6 over the epochs of runs with clean
# labels, and 0.6 to 1.1 with noise of 20 and 40 %; of few images it is uncertain by its standard error.
_EVENNESS, _UNEVEN, _ERRORS = 0.63, 0.5, 3.5
# The same little above chance: below 0.8 in clean runs, 0.9 and more with noise of 40 %.
_WEAK_SKILL, _WEAK_FLATNESS, _WEAK_UNEVEN, _WEAK_CLASSES = 0.08, 0.7, 0.65, 4
_EARLY_BLOCKS, _LATER_BLOCKS = 50, 50  # blocks of a long run that are judged: keeps the time constant
_FIRST = 100  # training images of the first epoch, of which a network that gets the right labels learns something
_LISTED = 20  # images in the evidence
_NAMED = 3  # images named in a sentence


class LabelNoise(Rule):
    """Found when the images that the model is surest of contradict their labels nearly as often as all images do.

    On clean data, however hard, mistakes gather where the model is unsure, and the true class is its runner-up. Labels
    that are wrong at random are different: before they are memorised they limit the accuracy of the surest images too,
    and the given label is no more probable than any other class (the early-learning phase: Arpit et al. 2017, "A Closer
    Look at Memorization in Deep Networks"; confident disagreement: Northcutt et al. 2021, "Confident Learning").

    The rule compares blocks of an epoch's training predictions, made before the model is updated on them. The first
    block is left out, since there even a good model is sure and wrong. Classes that are confused with each other do not
    count: there the label is the runner-up, the more clearly the more the model knows. Two blocks must show it, or one
    beyond doubt. A weak model is wrong about its surest images too, but the labels that contradict it name the classes
    that look alike; random ones name all classes alike, and this is what both kinds of models are asked for. Two
    classes leave neither a runner-up nor another class to compare, so that a larger share is needed. With mixup or
    cutmix labels are mixed on purpose, and the rule has not enough data. SageMaker has no such rule.

    In a loop that mixes the images of a batch and gives the loss the labels as they were drawn, those labels are wrong
    for the other part of each image; this is found in the first batches.

    Labels that have nothing to do with their images teach nothing, so that the model is sure of none. They are found
    where thumbnails of validation images tell their labels clearly, by ridge regression, and the same model tells the
    labels of training images no better than a guess, nor does one of their own, nor the network in its first epoch.
    Training images whose augmentation leaves nothing of the class are not judged.

    Where the run has cached features of a frozen backbone, their check finds noise before the first epoch has ended
    (`clearsight data --label-errors` does the same); what it does not find, the predictions may.
    """

    explains = ("Overfit", "Overtraining", "LossNotDecreasing", "UnderfitCapacity", "Confusion", "NotLearning")

    min_share: float = setting(0.1, "least share of the surest images whose label disagrees", above=0, below=1)
    flatness: float = setting(0.5, "share of wrong images among the surest over that among all", above=0, high=1)
    runner_up: float = setting(1.65, "probability of the given label over that of an average other class", above=1)

    def needs(self) -> Needs:
        return Needs(counted="predictions", points=2 * _BLOCK[0])

    def check(self, view: RunView) -> list[Finding]:
        checked = view.context.label_check
        if checked is not None and checked.noisy:
            return [self._found_by_features(checked, view)]
        if 1 - view.context.loop.own_share > self.min_share:
            return [self._mixed(view)]
        table, settings = view.predictions(), view.context.settings
        if settings.get("mixup") or settings.get("cutmix"):
            return [self.not_enough_data(have=0, cause="labels are mixed on purpose (mixup, cutmix)")]
        if (finding := self._unrelated(view, table)) is not None:
            return [finding]
        parts, count = list(_blocks(table, ended=view.ended)), class_count(view.context, table)
        if not parts:
            needed = _block_size(table) + (_BLOCK[0] if view.ended else _block_size(table))
            return [self.not_enough_data(have=len(table), want=needed)]
        blocks = [_block_figures(block, count) for block in parts]
        noisy = self._noisy(blocks, count)
        if not noisy:
            return [self.clear(value=blocks[-1].share, threshold=self.min_share, unit="of the surest images")]
        worst = max(noisy, key=lambda block: block.share)
        smoothing = float(view.context.settings.get("label_smoothing") or 0.0)
        indices = _least_plausible([block.table for block in noisy])
        listed = ", ".join(str(index) for index in indices[:8])
        examples = f"such as those of the training images {listed}" if len(indices) else "where the model disagrees"
        steps = [int(block.table.steps[-1]) for block in blocks]
        finding = self.found(
            value=worst.share,
            threshold=self.min_share,
            unit="of the surest images",
            steps=(int(noisy[0].table.steps[0]), int(noisy[-1].table.steps[-1])),
            epoch=int(noisy[0].table.epochs[0]),
            subject="labels",
            cause=f"of the {worst.surest} images that the model was surest of (confidence "
            f"{worst.surest_confidence:.2f}) {worst.share:.0%} have another label, nearly as many as of all "
            f"({1 - worst.accuracy:.0%})",
            fix={} if smoothing >= 0.1 else {"label_smoothing": 0.1},
            advice=f"Check the labels, {examples}: at least every {_ordinal(1 / worst.share)} seems to be wrong.",
            confidence=0.9 if len(noisy) > 1 else 0.7,
            evidence=(
                Series.of("wrong among the surest", steps, [block.share for block in blocks]),
                Series.of("wrong among all", steps, [1 - block.accuracy for block in blocks]),
                *([Series.of("least plausible labels", np.arange(len(indices)) + 1, indices)] if len(indices) else []),
            ),
        )
        return [finding]

    def _found_by_features(self, checked: LabelCheck, view: RunView) -> Finding:
        named = ", ".join(f"{item.path} ({item.given}, likely {item.likely})" for item in checked.suspects[:_NAMED])
        smoothing = float(view.context.settings.get("label_smoothing") or 0.0)
        return self.found(
            value=checked.share,
            threshold=checked.limit,
            unit="of the surest images",
            steps=(1, max(1, view.done())),
            subject="labels",
            cause=checked.sentence(),
            fix={} if smoothing >= 0.1 else {"label_smoothing": 0.1},
            advice=f"Check the labels, such as those of {named}; clearsight data --label-errors lists them all.",
            confidence=0.9,
        )

    def _mixed(self, view: RunView) -> Finding:
        foreign = 1 - view.context.loop.own_share
        return self.found(
            value=foreign,
            threshold=self.min_share,
            unit="of an image",
            steps=(1, max(1, view.done())),
            subject="labels",
            cause=f"images are mixed with others of their batch ({foreign:.0%} of an image are another one's), and the "
            "loss gets the label of the one alone",
            advice="Mix the loss by the same shares: share * loss(outputs, labels) + (1 - share) * loss(outputs, "
            "labels[order]).",
            confidence=0.95,
        )

    def _unrelated(self, view: RunView, table: PredictionTable) -> Finding | None:
        """Return a finding if training labels are as good as random, where validation shows what labels can tell."""
        first = select_rows(table, table.epochs == table.epochs[:1])
        splits = (
            both_thumbnails(view)
            if len(first) >= _FIRST and random_agreement(first.predictions, first.labels)
            else None
        )
        relation = label_relation(*splits) if splits is not None else None
        if relation is None or relation.related:
            return None
        return self.found(
            value=relation.across,
            threshold=relation.valid,
            unit="accuracy",
            severity=Severity.SEVERE,
            steps=(1, max(1, view.done())),
            subject="labels",
            cause="the labels of training have nothing to do with their images: a linear model on thumbnails gets "
            f"{relation.valid:.0%} of the validation labels right, and {relation.across:.0%} of the labels of "
            f"{relation.images} training images (a guess {relation.chance:.0%})",
            advice="Check that images and labels of a training batch belong together: the same order, the same rows, "
            "and nothing that moves images within the batch.",
            confidence=0.9,
        )

    def _noisy(self, blocks: Sequence[_Block], count: int) -> list[_Block]:
        """Return the blocks that show noise, [] where it is not certain."""
        noisy = [block for block in blocks if self._is_noisy(block, count)]
        if count == 2:
            return noisy if len(noisy) > 1 else []
        skilled = [block for block in blocks if block.skill >= _SKILL]
        if (
            noisy
            and (len(noisy) > 1 or noisy[0].runner_up <= _SINGLE_BLOCK)
            and _random_labels(skilled, count, _UNEVEN)
        ):
            return noisy
        # Much noise leaves a weak network little above chance, but whatever it confuses is confused at random.
        weak = [block for block in blocks if block.skill >= _WEAK_SKILL and self._is_flat(block, _WEAK_FLATNESS)]
        enough = count >= _WEAK_CLASSES and len(weak) > 1 and _random_labels(weak, count, _WEAK_UNEVEN)
        return weak if enough else []

    def _is_noisy(self, block: _Block, count: int) -> bool:
        # A model that knows little, or few classes, has no clear runner-up.
        limit = min(self.runner_up, 1 + _RISE * (block.accuracy - block.chance) * min(1.0, (count - 2) / _MANY))
        return (
            block.skill >= _SKILL
            and block.surest_confidence >= _MIN_CONFIDENCE
            # Two classes leave no runner-up to compare, so the shares must be more alike.
            and self._is_flat(block, self.flatness if count > 2 else max(self.flatness, 0.7))
            and (count == 2 or block.runner_up <= limit)
        )

    def _is_flat(self, block: _Block, flatness: float) -> bool:
        certain = wilson(round(block.share * block.surest), block.surest).low >= self.min_share
        return certain and block.confidence - block.accuracy <= _OVERCONFIDENT and block.flatness >= flatness


@dataclass(frozen=True, slots=True)
class _Block:
    """Figures of a block of predictions. surest: images in the surest part; share: wrong ones among them."""

    table: PredictionTable
    accuracy: float
    chance: float
    confidence: float
    surest: int
    surest_confidence: float
    share: float
    runner_up: float

    @property
    def skill(self) -> float:
        """Accuracy beyond the share of the largest class."""
        return self.accuracy - self.chance

    @property
    def flatness(self) -> float:
        return self.share / max(1 - self.accuracy, 1e-12)


def _blocks(table: PredictionTable, *, ended: bool) -> Iterator[PredictionTable]:
    """Yield predictions in blocks, oldest first, without the first block and without a rest that is too small.

    ended: of a run that goes on, the block that still grows is left out: what it shows is gone when it is full.
    """
    known = select_rows(table, np.isfinite(table.confidence) & np.isfinite(table.true_probability))
    size = _block_size(table)
    starts = np.arange(size, len(known) - (_BLOCK[0] if ended else size) + 1, size)
    later = np.linspace(_EARLY_BLOCKS, max(len(starts) - 1, _EARLY_BLOCKS), _LATER_BLOCKS).round().astype(int)
    # Of a long run the early blocks, where labels are not memorised yet, and some of the later ones.
    if len(starts) > _EARLY_BLOCKS + _LATER_BLOCKS:
        starts = starts[np.unique([*range(_EARLY_BLOCKS), *later])]
    for start in starts.tolist():
        yield select_rows(known, np.arange(start, min(start + size, len(known))))


def _block_size(table: PredictionTable) -> int:
    """Return the number of images of a block: those of an epoch, within bounds."""
    return int(np.clip(np.count_nonzero(table.epochs == table.epochs[:1]), *_BLOCK))


def _block_figures(block: PredictionTable, count: int) -> _Block:
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


def _random_labels(blocks: Sequence[_Block], count: int, uneven: float) -> bool:
    """Return True where the contradicted labels name all classes alike, with certainty more evenly than `uneven`."""
    spread = label_spread([block.table for block in blocks], count)
    return spread.evenness >= _EVENNESS and spread.evenness - _ERRORS * spread.error >= uneven


def _least_plausible(tables: Sequence[PredictionTable]) -> Ints:
    """Return the indices of the images whose label was contradicted every time, the least probable on average first."""
    indices = np.concatenate([table.indices for table in tables])
    log_probabilities = np.concatenate([np.log(np.maximum(table.true_probability, 1e-12)) for table in tables])
    wrong = np.concatenate([table.predictions != table.labels for table in tables])
    known = indices >= 0
    images, inverse = np.unique(indices[known], return_inverse=True)
    if not len(images):
        return np.empty(0, np.int64)
    times = np.bincount(inverse)
    mean = np.bincount(inverse, weights=log_probabilities[known]) / times
    always_wrong = np.bincount(inverse, weights=wrong[known]) == times
    order = np.argsort(mean, kind="stable")
    return np.asarray(images[order[always_wrong[order]]][:_LISTED])


def _ordinal(every: float) -> str:
    """Return a number as it follows "at least every"."""
    number = max(1, round(every))
    return {1: "label", 2: "second", 3: "third"}.get(number, f"{number}th")
