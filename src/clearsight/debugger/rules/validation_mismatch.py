"""ValidationMismatch: images or labels of validation differ from those of training."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.statistics import wilson
from clearsight.core.view import Ints, PredictionTable, RunView
from clearsight.debugger.analysis.pixel_ends import Ends, likely_ends, training_ends
from clearsight.debugger.analysis.predictions import (
    class_count,
    class_name,
    confusion_matrix,
    has_learned,
    join_names,
    select_rows,
    validation_predictions,
)
from clearsight.debugger.analysis.reference import pixel_reference, references
from clearsight.debugger.analysis.split_classifier import explained_difference
from clearsight.debugger.analysis.split_inputs import (
    SampledImages,
    channel_order,
    misfit,
    scale,
    sharpness_ratio,
    shift,
    size_ratio,
    split_images,
)
from clearsight.debugger.analysis.thumbnails import both_thumbnails

_GAIN = 0.1  # accuracy by which other class numbers must fit better, beyond both intervals
_GAP = 0.2  # accuracy of a linear model by which training labels must be easier than validation labels
_SAME_SIZE = 1.1  # ratio of sides up to which sharpness can be compared
_ALL_GREY, _FEW_GREY = 0.95, 0.5  # share of grey images of a split that shows no colours, and of one that does
_NAMED = 3  # classes that a message names
_OF_CLASS = 5  # validation images of a class, fewer of which may be an accident of the split
_EXPECTED = 10  # surely so many of a class in an epoch of training: that none comes by chance is 1 in 20,000
_EPOCHS = 2  # of training before a run has ended: classes may come one after the other on purpose


class ValidationMismatch(Rule):
    """Found when validation gets other images or other labels than training, which looks like overfitting.

    Images are compared as the model gets them: the channel means may differ by `max_shift` standard deviations of the
    pixels, the standard deviation and the sharpness by the factors `max_scale` and `max_blur`, the sides by `max_size`.
    Augmentation stays within these limits. Where validation is also less accurate than training by `gap`, beyond its
    error, it is enough that means, contrasts and correlations of the channels differ by `max_misfit` squared standard
    errors. An order of the channels is found where another order of the validation
    channels fits training at least three times as well, beyond chance. One split that is grey beside a coloured one is
    found by the channels of its images, and images that are turned, mirrored top to bottom, cut to a corner or in
    another order of the channels where a linear model on thumbnails tells the splits apart, and no longer does once
    the validation images are changed in the same way. Random changes of the training images, which such a model sees
    too, are never undone by a fixed one.

    Labels are found where the predictions fit other class numbers better (a shift, or any permutation, fitted on one
    half of the images and tested on the other), while training is learned; or where a linear model on the network's
    features can tell the training labels and not the validation labels, nor one on their pixels; or where validation
    has classes that no training batch ever had, although by their share an epoch had ten of each. Splits without a
    class in common, as those of image retrieval, are clear. SageMaker has no such rule.
    """

    explains = ("Overfit", "Overtraining", "Confusion", "DataLeak")

    max_shift: float = setting(0.5, "difference of the channel means", above=0, unit="standard deviations")
    max_scale: float = setting(1.6, "ratio of the standard deviations", above=1)
    max_blur: float = setting(2.5, "ratio of the sharpness", above=1)
    max_size: float = setting(1.5, "ratio of the sides", above=1)
    max_misfit: float = setting(10.0, "mean squared difference of the images", above=1, unit="squared standard errors")
    gap: float = setting(0.1, "accuracy of training above that of validation", above=0, below=1)
    images: int = setting(24, "images of each split that are needed", low=2)

    def needs(self) -> Needs:
        return Needs(counted="predictions", points=self.images, mode="eval")

    def check(self, view: RunView) -> list[Finding]:
        train, valid = split_images(view, "train"), split_images(view, "eval")
        table = (validation_predictions(view, 1) or [view.predictions("eval")])[-1]
        sampled = min(len(train), len(valid)) if train is not None and valid is not None else 0
        has_images = sampled >= self.images
        if not has_images and len(table) < self.images:
            return [self.not_enough_data(have=max(sampled, len(table)))]
        found = []
        if has_images and train is not None and valid is not None:
            found.append(
                self._images(view, train, valid)
                or self._grey(view, train, valid)
                or self._changed(view)
                or self._kind(view, train, valid)
            )
        found.append(
            self._missing_classes(view, table) or self._class_numbers(view, table) or self._unrelated_labels(view)
        )
        return [finding for finding in found if finding is not None] or [
            self.clear(value=0.0, threshold=self.max_shift)
        ]

    def _images(self, view: RunView, train: SampledImages, valid: SampledImages) -> Finding | None:
        """Return a finding if the images of the splits differ."""
        if train.means.shape[1] != valid.means.shape[1]:
            channels = (train.means.shape[1], valid.means.shape[1])
            differences = [(float(channels[1]), 1.0, f"have {channels[1]} channels instead of {channels[0]}")]
        else:
            differences = self._differences(train, valid, training_ends(view))
        if not differences:
            return None
        value, threshold, _ = differences[0]
        place = np.arange(train.means.shape[1])
        return self.found(
            value=value,
            threshold=threshold,
            steps=(1, view.done()),
            subject="validation images",
            cause=f"validation images {join_names([words for *_, words in differences])}, as the model gets them",
            advice="Prepare validation images as training images are prepared, without the random changes.",
            evidence=(
                Series.of("mean of the training images by channel", place, train.means.mean(axis=0)),
                Series.of(
                    "mean of the validation images by channel", np.arange(valid.means.shape[1]), valid.means.mean(0)
                ),
            ),
        )

    def _grey(self, view: RunView, train: SampledImages, valid: SampledImages) -> Finding | None:
        """Return a finding if one split shows no colours and the other one does."""
        shares = train.grey_share, valid.grey_share
        coloured_images = valid if shares[0] > shares[1] else train
        # Noise on grey images is no colour.
        if max(shares) < _ALL_GREY or min(shares) > _FEW_GREY or not coloured_images.colourful:
            return None
        grey, coloured = ("training", "validation") if shares[0] > shares[1] else ("validation", "training")
        return self.found(
            value=max(shares),
            threshold=_ALL_GREY,
            unit="of the images",
            severity=Severity.SEVERE,
            steps=(1, view.done()),
            subject=f"{grey} images",
            cause=f"{max(shares):.0%} of the {grey} images are grey (their channels are equal) and "
            f"{min(shares):.0%} of the {coloured} images",
            advice=f"Read {grey} images in colour as {coloured} images are, or turn both to grey.",
            confidence=0.95,
        )

    def _changed(self, view: RunView) -> Finding | None:
        """Return a finding if a fixed change of the images, such as turning them, is all that the splits differ by."""
        splits = both_thumbnails(view)
        if splits is None:
            return None
        ends = training_ends(view)
        difference = explained_difference(*splits, None if ends is None else likely_ends(ends))
        if difference is None:
            return None
        return self.found(
            value=difference.told,
            threshold=difference.left,
            unit="of the images told apart",
            severity=Severity.SEVERE,
            steps=(1, view.done()),
            subject="validation images",
            cause=f"training images {difference.change}: a linear model tells {difference.told:.0%} of the images of "
            f"both splits apart (chance is 50%), and {difference.left:.0%} once this is undone",
            advice="Look at images of both splits as the model gets them, and prepare them alike but for random "
            "changes.",
            confidence=0.9,
        )

    def _kind(self, view: RunView, train: SampledImages, valid: SampledImages) -> Finding | None:
        """Return a finding on images of another kind that the network is worse at."""
        table = view.evaluations()
        known = np.isfinite(table.train_accuracy) & np.isfinite(table.valid_accuracy)
        if train.means.shape[1] != valid.means.shape[1] or not known.any():
            return None
        accuracies = float(table.train_accuracy[known][-1]), float(table.valid_accuracy[known][-1])
        seen = max(1, len(view.predictions("eval")) // len(table))
        error = np.sqrt(max(accuracies[1] * (1 - accuracies[1]), 1e-4) / seen)
        value, name = misfit(train, valid)
        if value <= self.max_misfit or accuracies[0] - accuracies[1] < max(self.gap, 2 * error):
            return None
        return self.found(
            value=value,
            threshold=self.max_misfit,
            unit="squared standard errors",
            severity=Severity.WARNING,
            steps=(1, view.done()),
            subject="validation images",
            cause=f"validation images are of another kind than training images, above all by the {name}, and the "
            f"accuracy is {accuracies[1]:.0%} on them instead of {accuracies[0]:.0%}",
            advice="Look at images of both splits as the model gets them, and prepare them alike but for the random "
            "changes of training.",
            confidence=0.7,
        )

    def _differences(
        self, train: SampledImages, valid: SampledImages, ends: Ends | None
    ) -> list[tuple[float, float, str]]:
        """Return value, limit and words of each difference, the most telling first."""
        result = []
        if (order := channel_order(train, valid, ends)) is not None:
            names = ", ".join(str(channel) for channel in order)
            result.append((1.0, 0.0, f"have their channels in another order (those of training are their {names})"))
        means = [", ".join(f"{m:.3g}" for m in images.means.mean(axis=0)) for images in (train, valid)]
        if not result and (moved := shift(train, valid)) > self.max_shift:
            result.append((moved, self.max_shift, f"have the channel means {means[1]} instead of {means[0]}"))
        if (ratio := scale(train, valid)) > self.max_scale or ratio < 1 / self.max_scale:
            spreads = [float(images.spread.mean()) for images in (train, valid)]
            words = f"have a standard deviation of {spreads[1]:.3g} instead of {spreads[0]:.3g}"
            result.append((ratio, self.max_scale, words))
        size = size_ratio(train, valid)
        if size > self.max_size or size < 1 / self.max_size:
            result.append((size, self.max_size, f"are {size:.2g} times as large"))
        blur = sharpness_ratio(train, valid)
        if 1 / _SAME_SIZE <= size <= _SAME_SIZE and (blur > self.max_blur or blur < 1 / self.max_blur):
            result.append((blur, self.max_blur, f"are {blur:.2g} times as sharp"))
        return result

    def _missing_classes(self, view: RunView, table: PredictionTable) -> Finding | None:
        """Return a finding on classes of validation that no training batch had."""
        train = view.predictions()
        if not len(train) or not len(table) or not (view.ended or len(np.unique(train.epochs)) > _EPOCHS):
            return None
        counts = np.bincount(table.labels[table.labels >= 0])
        known = np.isin(np.arange(len(counts)), train.labels)
        drawn = int(np.count_nonzero(train.epochs == train.epochs[0]))
        missing = [
            label
            for label in np.flatnonzero((counts >= _OF_CLASS) & ~known).tolist()
            if drawn * wilson(int(counts[label]), len(table)).low >= _EXPECTED
        ]
        if not missing or not counts[known].any():
            return None
        images = int(counts[missing].sum())
        names = [class_name(view.context, label) for label in missing[:_NAMED]]
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        return self.found(
            value=images / len(table),
            threshold=0.0,
            unit="of the validation images",
            severity=Severity.SEVERE,
            steps=(1, view.done()),
            subject="validation labels",
            cause=f"{images} of {len(table):,} validation images are of classes that none of {len(train):,} training "
            f"labels has: {', '.join(names) if more else join_names(names)}{more}",
            advice="Check what the training sampler draws, how the images were split (sorted ones must be shuffled "
            "before), and how the training labels are made.",
            confidence=0.95,
            evidence=Series.of("validation images by class", np.arange(len(counts)), counts),
        )

    def _class_numbers(self, view: RunView, table: PredictionTable) -> Finding | None:
        """Return a finding if the predictions fit other class numbers than those of the labels."""
        classes = class_count(view.context, table)
        if len(table) < self.images or classes < 2 or not has_learned(view):
            return None
        fitted, order = _permuted_accuracy(table, classes)
        correct = int((table.labels == table.predictions).sum())
        images = len(table)
        if wilson(fitted, images).low < wilson(correct, images).high + _GAIN:
            return None
        moved = [label for label in range(classes) if order[label] != label and (table.labels == label).any()]
        # From -C/2 to C/2: a shift by 9 of 10 classes is one by -1.
        shifts = {(int(order[label] - label) + classes // 2) % classes - classes // 2 for label in moved}
        named = [f"{class_name(view.context, i)} as {class_name(view.context, int(order[i]))}" for i in moved[:_NAMED]]
        change = (
            f"shifted by {shifts.pop()}"
            if len(shifts) == 1 and len(moved) > 2
            else f"in another order ({', '.join(named)})"
        )
        return self.found(
            value=fitted / images,
            threshold=correct / images + _GAIN,
            unit="accuracy",
            severity=Severity.SEVERE,
            steps=(1, view.done()),
            subject="validation labels",
            cause=f"with the class numbers {change} {fitted / images:.0%} of {images:,} validation labels fit the "
            f"predictions, as they are {correct / images:.0%}",
            advice="Use the same mapping from class names to numbers for both splits.",
            confidence=0.95,
            evidence=Series.of("class number that fits, by label", np.arange(classes), order),
        )

    def _unrelated_labels(self, view: RunView) -> Finding | None:
        """Return a finding if a linear model on the features can tell training labels and not validation labels."""
        train, valid = references(view), references(view, "eval")
        if not train or not valid or any(found.learnable for found in valid):
            return None
        best, latest = max(train, key=lambda found: found.interval.low), valid[-1]
        if (
            not best.learnable
            or best.interval.low < latest.interval.high + _GAP / 2
            or best.accuracy < latest.accuracy + _GAP
        ):
            return None
        # Features that fail in evaluation mode alone, as with norms of other weights, say nothing about the labels.
        pixels = pixel_reference(view, "eval")
        if pixels is not None and pixels.learnable:
            return None
        return self.found(
            value=latest.accuracy,
            threshold=best.accuracy - _GAP,
            unit="accuracy",
            severity=Severity.SEVERE,
            steps=(1, view.done()),
            subject="validation labels",
            cause=f"a linear model on the network's features gets {best.accuracy:.0%} of the training labels right, "
            f"and only {latest.accuracy:.0%} of the validation labels (always the largest class: {latest.chance:.0%})",
            advice="Check that validation labels belong to their images: the same order, the same files.",
            confidence=0.85,
            evidence=Series.of("accuracy on validation features", [f.step for f in valid], [f.accuracy for f in valid]),
        )


def _permuted_accuracy(table: PredictionTable, classes: int) -> tuple[int, Ints]:
    """Return how many labels are right under the best permutation of the classes, and that permutation (C,).

    The permutation that counts was fitted on the other half of the images of each class.
    """
    order = np.argsort(table.labels, kind="stable")
    half = np.empty(len(table), np.int64)
    half[order] = np.arange(len(table)) % 2
    correct = 0
    for part in (0, 1):
        fitted = _best_order(select_rows(table, half != part), classes)
        tested = select_rows(table, half == part)
        correct += int((fitted[tested.labels] == tested.predictions).sum())
    return correct, _best_order(table, classes)


def _best_order(table: PredictionTable, classes: int) -> Ints:
    from scipy.optimize import linear_sum_assignment  # 0.3 s, which a mistake in the arguments need not wait for

    rows, columns = linear_sum_assignment(-confusion_matrix(table, classes))
    fitted = np.arange(classes)
    fitted[rows] = columns
    return fitted
