"""Conditions on images, labels and predictions: CheckInputImages, ClassImbalance, Confusion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field, PrivateAttr

from clearsight_sagemaker.rules.conditions.condition import Array, Condition, StepTensors, matches, words


class CheckInputImagesCondition(Condition):
    """Met where the mean of a channel of the input images is above threshold_mean or below its negative, after
    threshold_samples images. channel: the axis of the channels, 1 for images (N, C, H, W).
    """

    threshold_mean: float = Field(0.2, ge=0)
    threshold_samples: int = Field(500, ge=1)
    regex: str = ".*hybridsequential0_input_0"
    channel: int = Field(1, ge=0, le=3)

    _images: int = PrivateAttr(0)
    _sums: dict[int, float] = PrivateAttr(default_factory=dict)

    def at_step(self, saved: StepTensors, step: int) -> str:
        for name in saved.names(step):
            if not matches(name, words(self.regex)):
                continue
            images = saved.value(name, step)
            if images.ndim <= self.channel:
                continue
            self._points += 1
            rest = tuple(axis for axis in range(images.ndim) if axis != self.channel)
            self._images += len(images)
            for number, mean in enumerate(images.mean(axis=rest, dtype=np.float64)):
                self._sums[number] = self._sums.get(number, 0.0) + float(mean) * len(images)
        if self._images < self.threshold_samples:
            return ""
        means = {number: total / self._images for number, total in self._sums.items()}
        worst = max(means, key=lambda number: abs(means[number]))
        if abs(means[worst]) <= self.threshold_mean:
            return ""
        limit = f"beyond threshold_mean={self.threshold_mean:g}"
        return f"the mean of channel {worst} over {self._images} images is {means[worst]:.3g}, {limit}"


class LabelledPredictions(Condition):
    """Base of conditions on labels (N,) and predictions, classes (N,) or scores (N, C)."""

    def pairs(
        self, saved: StepTensors, labels: Sequence[str], predictions: Sequence[str], step: int
    ) -> tuple[Array, Array]:
        """Return labels and predicted classes of a step, (N,) each; the latter are empty where there are none."""
        none = np.empty(0, np.int64)
        known = _joined([saved.value(name, step).reshape(-1) for name in labels])
        classes = _joined([_classes(saved.value(name, step)) for name in predictions])
        return known.astype(np.int64), classes.astype(np.int64) if len(classes) == len(known) else none


class ClassImbalanceCondition(LabelledPredictions):
    """Met, after `samples` labels, where the most frequent class has more than threshold_imbalance times the labels of
    the rarest, or where a share of a class above threshold_misprediction was predicted as another one.

    argmax: predictions are scores. Scores of the shape (N, C) are recognised without it.
    """

    threshold_imbalance: float = Field(10.0, gt=0)
    threshold_misprediction: float = Field(0.7, ge=0, le=1)
    samples: int = Field(500, ge=1)
    argmax: bool = False
    labels_regex: str = ".*labels"
    predictions_regex: str = ".*predictions"

    _labels: dict[int, int] = PrivateAttr(default_factory=dict)
    _wrong: dict[int, int] = PrivateAttr(default_factory=dict)
    _predicted: dict[int, int] = PrivateAttr(default_factory=dict)

    def at_step(self, saved: StepTensors, step: int) -> str:
        names = saved.names(step)
        labels, predicted = self.pairs(
            saved,
            [name for name in names if matches(name, words(self.labels_regex))],
            [name for name in names if matches(name, words(self.predictions_regex))],
            step,
        )
        if not len(labels):
            return ""
        self._points += 1
        for label in np.unique(labels):
            same = labels == label
            self._labels[int(label)] = self._labels.get(int(label), 0) + int(same.sum())
            if len(predicted):
                self._predicted[int(label)] = self._predicted.get(int(label), 0) + int(same.sum())
                self._wrong[int(label)] = self._wrong.get(int(label), 0) + int((predicted[same] != label).sum())
        return self._verdict() if sum(self._labels.values()) >= self.samples else ""

    def _verdict(self) -> str:
        most, least = max(self._labels, key=lambda c: self._labels[c]), min(self._labels, key=lambda c: self._labels[c])
        factor = self._labels[most] / self._labels[least]
        if factor > self.threshold_imbalance:
            limit = f"above threshold_imbalance={self.threshold_imbalance:g}"
            return f"class {most} has {factor:.3g} times the labels of class {least}, {limit}"
        for label, count in self._predicted.items():
            share = self._wrong[label] / count
            if share > self.threshold_misprediction:
                limit = f"above threshold_misprediction={self.threshold_misprediction:g}"
                return f"a share of {share:.3g} of class {label} was predicted as another class, {limit}"
        return ""


class ConfusionCondition(LabelledPredictions):
    """Met where, in the confusion matrix of a step, the share of a class in the diagonal is below min_diag, or a share
    of a class above max_off_diag was predicted as one other class. category_no: number of classes.
    """

    category_no: int | None = Field(None, ge=2)
    labels: str = "labels"
    predictions: str = "predictions"
    labels_collection: str = "labels"
    predictions_collection: str = "predictions"
    min_diag: float = Field(0.9, ge=0, le=1)
    max_off_diag: float = Field(0.1, ge=0, le=1)

    def at_step(self, saved: StepTensors, step: int) -> str:
        names = saved.names(step)
        labels, predicted = self.pairs(
            saved,
            [n for n in names if n == self.labels or saved.in_collection(n, self.labels_collection)],
            [n for n in names if n == self.predictions or saved.in_collection(n, self.predictions_collection)],
            step,
        )
        if not len(predicted):
            return ""
        self._points += 1
        size = max(self.category_no or 0, int(max(labels.max(), predicted.max())) + 1)
        counts = np.zeros((size, size))
        np.add.at(counts, (labels, predicted), 1)
        diagonal, totals = np.diag(counts), counts.sum(axis=1)
        for label in np.flatnonzero(totals):
            share = diagonal[label] / diagonal.sum() if diagonal.sum() else 0.0
            if share < self.min_diag:
                return f"class {label} has a share of {share:.3g} in the diagonal, below min_diag={self.min_diag:g}"
            others = counts[label] / totals[label]
            others[label] = 0
            if others.max() > self.max_off_diag:
                limit = f"above max_off_diag={self.max_off_diag:g}"
                return f"a share of {others.max():.3g} of class {label} was predicted as {others.argmax()}, {limit}"
        return ""


def _joined(parts: list[Array]) -> Array:
    return np.concatenate(parts) if parts else np.empty(0)


def _classes(value: Array) -> Array:
    """Return the predicted classes (N,) of classes or scores."""
    return value.argmax(axis=-1).reshape(-1) if value.ndim > 1 and value.shape[-1] > 1 else value.reshape(-1)
