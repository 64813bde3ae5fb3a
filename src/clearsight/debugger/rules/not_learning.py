"""NotLearning: the network has learned nothing, or far less than its own features allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from clearsight.core.finding import Finding, Series, Severity, Verdict
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.statistics import Interval, wilson
from clearsight.core.view import Floats64, PredictionTable, RunView
from clearsight.debugger.analysis.loss_curve import trend
from clearsight.debugger.analysis.predictions import join_names, select_rows
from clearsight.debugger.analysis.reference import Reference, pixel_reference, references
from clearsight.debugger.analysis.tensors import weight_sizes

_LATE = 100  # predictions at the end that are judged, at least; more than that, the last third
_ONE_CLASS = 0.8  # share of the largest class above which an accuracy says little
_ENTROPY = 0.03  # of the entropy of the labels: cross entropy so far below it has learned something
_STEPS = 60  # before them a run of unknown length is not judged while it goes on
_SLOW_STEPS = 300  # the same for a network that has learned something: plain SGD stands still for long and goes on
_PER_CLASS, _LEAST_SEEN = 60, 800  # training images after which features that tell nothing are no bad luck
_PER_CLASS_SAMPLED = 15  # images of a class in a sample of features that could show the class
_MEMORISED = 0.05  # overlap of the intervals of network and reference that is no doubt
_SHRUNK = 0.5  # weights at the end over weights at the beginning
_SEEN_TWICE = 2  # times the images of a linear model on pixels, after which a network must do as well
_AS_MUCH = 0.7  # of what such a model gains over a guess, at the lower end of its interval
_GAP = 0.2  # accuracy by which validation must be easier to learn than training

# What can be wrong, in the order in which to look, and the rules that would have found it.
_Candidates = Mapping[str, tuple[str, ...]]
_OPTIMISATION: _Candidates = {
    "parameters that are not trained": ("FrozenByMistake", "UnchangedTensor", "UpdateMissing"),
    "a learning rate that is too low": ("LearningRateTooLow", "WeightUpdateRatio"),
    "a learning rate that is too high": ("LearningRateTooHigh", "ExplodingTensor", "EarlyNaN"),
    "gradients that are not cleared": ("GradientsNotCleared",),
    "a loss on probabilities": ("LossOnProbabilities",),
    "dead or saturated layers": ("DeadRelu", "SaturatedActivation", "AllZero", "VanishingGradient"),
    "an unsuitable initialisation": ("PoorWeightInitialization",),
    "the sign of the loss and what it gets": ("LossInputMismatch",),
    "weight decay or clipping that outweighs the gradients": ("WeightDecayTooHigh", "ClippingTooStrong"),
    "dropout": ("DropoutTooHigh",),
    "labels that the loss gets in another form than the outputs": (),
}
_DATA: _Candidates = {
    "images that are blank, constant or repeated": ("CheckInputImages",),
    "the scale of the images": ("NormalisationMismatch",),
    "batches in the order of the classes": ("ShuffledWrong",),
    "labels that do not belong to the images": (),
    "a part of the network that cuts images off from features": ("DeadRelu", "SaturatedActivation", "AllZero"),
}
_LABELS: _Candidates = {"training labels that do not belong to the images": ()}
_ADVICE = {
    "features": "Look at what lies between the features and the weights: head, loss and optimizer.",
    "images and labels": "Look at a few images as the model gets them, beside their labels.",
    "training labels": "Check that training labels belong to their images: the same order, the same files.",
}


@dataclass(frozen=True, slots=True)
class _Progress:
    """Network at the end of a run. images, correct: of the late predictions.  chance: share of the largest class.

    cross_entropy, error: mean over the late predictions and its standard error.  entropy: of the labels.
    improving: True if the cross entropy of the last half still falls.  seen: training images in all.
    """

    images: int
    correct: int
    chance: float
    classes: int
    cross_entropy: float
    error: float
    entropy: float
    improving: bool
    seen: int

    @property
    def accuracy(self) -> float:
        return self.correct / self.images

    @property
    def interval(self) -> Interval:
        """Return the 95 % interval of the accuracy."""
        return wilson(self.correct, self.images)

    def learned(self, margin: float) -> bool:
        """Return True if accuracy or cross entropy is better than that of a guess, beyond chance."""
        by_accuracy = self.interval.low > self.chance + margin * (1 - self.chance)
        return by_accuracy or self.cross_entropy + 2 * self.error < (1 - _ENTROPY) * self.entropy


class NotLearning(Rule):
    """Found when the network is no better than a guess, or far worse than a linear model on its own features.

    A guess always names the largest class. The accuracy of the last third of the training must exceed it by `margin`
    of what is left to 100 %, at the lower end of its 95 % interval, or the cross entropy must be below the entropy of
    the labels; both are computed from the outputs, so that they hold for any loss. The reference is ridge regression
    on the inputs of the last layer, cross-validated on up to 256 images, at the beginning and at the end. Features
    that a linear model can use point to head, loss or optimisation; features that tell nothing point to images or
    labels; training labels alone are wrong where validation images can be told apart and training images cannot.
    Images that are seen again can be memorised: a network that is better than a guess while no features hold the
    classes has learned nothing of them. Found too where the network gained less than `share` of what the reference
    gains and no longer gets better, and where it ends below a linear model on thumbnails of the first training images,
    which knows a few hundred of them and no network at all.

    While the cross entropy still falls, or after too few images, it is an information. The advice names what other
    rules have excluded and what remains. SageMaker has no such rule.
    """

    severity = Severity.SEVERE
    also = ("HeadNotLearning",)
    explains = ("LossNotDecreasing", "UnderfitCapacity", "Confusion", "StalledTraining", "LossOscillating")

    margin: float = setting(0.05, "gain over a guess that counts as learning", above=0, below=1)
    share: float = setting(0.5, "share of the reference's gain that the network must reach", above=0, below=1)

    def needs(self) -> Needs:
        return Needs(counted="predictions", points=2 * _LATE)

    def check(self, view: RunView) -> list[Finding]:
        table = view.predictions()
        if len(table) < self.needs().points:
            return [self.not_enough_data(have=len(table))]
        steps, planned = view.done(), view.context.steps
        wanted = planned // 3 if planned else _STEPS
        if not view.ended and steps < wanted:
            return [self.not_enough_data(have=steps, want=wanted, of="training steps")]
        progress = _progress(table)
        if progress.chance > _ONE_CLASS:
            cause = f"{progress.chance:.0%} of the latest labels are one class, so that the accuracy says little"
            return [self.not_enough_data(have=0, cause=cause)]
        train, valid = references(view), references(view, "eval")
        finding = self._wrong_labels(view, progress, train, valid)
        memorises = _memorises(progress, [*train, *valid], since=steps // 2)
        if memorises:
            progress = replace(progress, improving=False)  # it gets better at single images alone
        # A cross entropy that falls towards that of a guess is no learning.
        if view.ended and progress.cross_entropy > progress.entropy - 2 * progress.error:
            progress = replace(progress, improving=False)
        if finding is None and (memorises or not progress.learned(self.margin)):
            finding = self._nothing(view, progress, train)
        finding = finding or self._little(view, progress, train) or self._below_pixels(view, progress, train)
        if finding is None:
            return [self.clear(value=progress.accuracy, threshold=progress.chance, unit="accuracy")]
        return [finding]

    def with_verdicts(self, finding: Finding, verdicts: Mapping[str, Verdict]) -> Finding:
        """Return the finding with what other rules exclude and what remains, in order."""
        candidates = {"features": _OPTIMISATION, "images and labels": _DATA}.get(finding.subject, _LABELS)
        excluded: list[str] = []
        remaining: list[str] = []
        for words, rules in candidates.items():
            asked = [verdicts[rule] for rule in rules if rule in verdicts]
            is_excluded = bool(asked) and all(verdict is Verdict.CLEAR for verdict in asked)
            (excluded if is_excluded else remaining).append(words)
        # What a rule has found comes first.
        remaining.sort(key=lambda words: Verdict.FOUND not in [verdicts.get(rule) for rule in candidates[words]])
        parts = [f"Excluded by other rules: {join_names(excluded)}."] if excluded else []
        parts.append(f"Remaining, in this order: {join_names(remaining)}.")
        return replace(finding, advice=" ".join([finding.advice, *parts]).strip())

    def _nothing(self, view: RunView, progress: _Progress, train: list[Reference]) -> Finding:
        """Return the finding on a network that is no better than a guess."""
        useful = [found for found in train if found.learnable]
        best = max(useful, key=lambda found: found.interval.low, default=None)
        if best is None:
            severe = progress.seen >= max(_LEAST_SEEN, _PER_CLASS * progress.classes)
            severity = Severity.WARNING if severe and not progress.improving else Severity.INFO
            features = (
                f"a linear model on its features gets {train[-1].accuracy:.0%} of {train[-1].images} other images right"
                if train
                else "its features could not be read"
            )
            return self._finding(view, progress, train, features, "images and labels", severity)
        # A network that does what its features allow has no fault between them and the loss.
        little = best.interval.low < progress.interval.high
        severity = Severity.INFO if progress.improving or little else Severity.SEVERE
        features = f"a linear model on its own features of step {best.step} reaches {best.accuracy:.0%}"
        if best is not train[-1] and not train[-1].learnable:
            features += f", on those of step {train[-1].step} {train[-1].accuracy:.0%}: the training destroyed them"
        return self._finding(view, progress, train, features, "features", severity)

    def _wrong_labels(
        self, view: RunView, progress: _Progress, train: list[Reference], valid: list[Reference]
    ) -> Finding | None:
        """Return a finding where validation labels can be learned from features and training labels cannot."""
        # Images that are seen again are memorised: features of a late step may tell wrong labels apart.
        if not train or not valid or any(found.learnable for found in train[: max(1, len(train) - 1)]):
            return None
        best = max(valid, key=lambda found: found.interval.low)
        if not best.learnable:
            return None
        # Over all samples: one alone is too small. Those of validation are the same images each time.
        images = sum(found.images for found in train)
        share = sum(found.accuracy * found.images for found in train) / images
        usual = float(np.mean([found.accuracy for found in valid]))
        high = wilson(round(share * images), images).high
        # Augmented images are harder too, but a network learns them.
        if progress.accuracy - progress.chance > (usual - progress.chance) / 2:
            return None
        if wilson(round(usual * best.images), best.images).low < high + _GAP / 4 or usual < share + _GAP:
            return None
        features = (
            f"a linear model on its features gets {best.accuracy:.0%} of the validation labels right, and only "
            f"{train[-1].accuracy:.0%} of the training labels"
        )
        return self._finding(view, progress, train, features, "training labels", Severity.SEVERE)

    def _little(self, view: RunView, progress: _Progress, train: list[Reference]) -> Finding | None:
        """Return a finding on a network that stays far below its reference."""
        useful = [found for found in train if found.interval.low > found.chance + _GAP]
        early = not view.ended and not view.context.steps and view.done() < _SLOW_STEPS
        if not useful or progress.improving or early:
            return None
        best = max(useful, key=lambda found: found.interval.low)
        gain, possible = progress.interval.high - progress.chance, best.interval.low - best.chance
        if gain >= self.share * possible:
            return None
        features = f"a linear model on its own features of step {best.step} reaches {best.accuracy:.0%}"
        return self._finding(view, progress, train, features, "features", Severity.WARNING)

    def _below_pixels(self, view: RunView, progress: _Progress, train: list[Reference]) -> Finding | None:
        """Return a finding on a network that ends below a linear model on small images."""
        pixels = pixel_reference(view)
        if pixels is None or not pixels.learnable or not view.ended or progress.seen < _SEEN_TWICE * pixels.images:
            return None
        if progress.accuracy - progress.chance >= _AS_MUCH * (pixels.interval.low - pixels.chance):
            return None
        words = f"a linear model on the pixels of {pixels.images} of them, 8 by 8, reaches {pixels.accuracy:.0%}"
        severity = Severity.INFO if progress.improving else Severity.WARNING
        return self._finding(view, progress, train, words, "features", severity)

    def _finding(
        self,
        view: RunView,
        progress: _Progress,
        train: list[Reference],
        features: str,
        subject: str,
        severity: Severity,
    ) -> Finding:
        steps = [found.step for found in train] or [view.done()]
        accuracies = [found.accuracy for found in train] or [progress.accuracy]
        return self.found(
            value=progress.accuracy,
            threshold=progress.chance + self.margin * (1 - progress.chance),
            unit="accuracy",
            severity=severity,
            steps=(1, view.done()),
            subject=subject,
            cause=f"after {view.done()} steps the network gets {progress.accuracy:.0%} of the latest "
            f"{progress.images:,} training images right (always the largest class: {progress.chance:.0%}); {features}"
            + ("; the cross entropy still falls" if progress.improving else ""),
            advice=(subject == "features" and _hint(view, progress)) or _ADVICE[subject],
            confidence=0.85 if severity is Severity.SEVERE else 0.6,
            evidence=Series.of("accuracy of a linear model on the features", steps, accuracies),
        )


def _progress(table: PredictionTable) -> _Progress:
    """Return what the network does at the end of the training. table: at least 200 predictions."""
    late = select_rows(table, np.arange(len(table)) >= len(table) - max(_LATE, len(table) // 3))
    _, sizes = np.unique(table.labels, return_counts=True)
    shares = sizes / sizes.sum()
    # Miller and Madow 1955: the entropy of few labels is estimated too low.
    entropy = float(-(shares * np.log(shares)).sum()) + (len(sizes) - 1) / (2 * len(table))
    losses = _cross_entropy(table)
    latest = losses[-len(late) :]
    half = _batch_means(table, losses)
    half = half[len(half) // 2 :]
    line = trend(half) if len(half) > 2 else None
    return _Progress(
        images=len(late),
        correct=int((late.labels == late.predictions).sum()),
        chance=max(float(shares.max()), float(np.unique(late.labels, return_counts=True)[1].max() / len(late))),
        classes=len(sizes),
        cross_entropy=float(latest.mean()),
        error=float(latest.std() / np.sqrt(len(latest))),
        entropy=entropy,
        improving=line is not None and line.drop > max(2 * line.error, 0.02 * entropy),
        seen=len(table),
    )


def _memorises(progress: _Progress, found: list[Reference], *, since: int) -> bool:
    """Return True if no features hold the classes, although the network is better on images that it has seen.

    since: step from which features must be known: those of a beginning hold little of what is learned later.
    """
    if not any(one.step >= since for one in found):
        return False
    # Where a class has few images a linear model learns less from a sample than the network from all images.
    sampled = [one for one in found if one.images >= _PER_CLASS_SAMPLED * progress.classes]
    if not sampled or len(sampled) < len(found) or any(one.learnable for one in found):
        return False
    return max(one.interval.high for one in found) < progress.interval.low + _MEMORISED


def _cross_entropy(table: PredictionTable) -> Floats64:
    # Bounded, so that a single sure mistake does not decide.
    return -np.log(np.clip(np.nan_to_num(table.true_probability), 1e-4, 1.0))


def _batch_means(table: PredictionTable, values: Floats64) -> Floats64:
    counts = np.bincount(table.batches)
    return (np.bincount(table.batches, weights=values) / np.maximum(counts, 1))[counts > 0]


def _hint(view: RunView, progress: _Progress) -> str:
    """Return what the numbers themselves point to; "" where they point to nothing."""
    if progress.interval.high < 0.5 * progress.chance:
        return "The accuracy is far below that of a guess: the loss is made larger instead of smaller; check its sign."
    sizes = weight_sizes(view).values
    if len(sizes) > 1 and sizes[-1] < _SHRUNK * sizes[0]:
        return f"The weights have shrunk to {sizes[-1] / sizes[0]:.0%}: lower the weight decay."
    return ""
