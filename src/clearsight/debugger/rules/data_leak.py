"""DataLeak: images of the validation or test split are among the training images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.tensors import Moment
from clearsight.core.view import EvaluationTable, Floats64, Ints, RunView
from clearsight.debugger.analysis.predictions import class_count

SavedInputs = list[tuple[Moment, npt.NDArray[Any]]]

_IMAGES = 2  # a single duplicate is an accident
_SEVERE = 0.1  # of a split: from here on its scores say little
_REPEATED = 0.1  # of the training inputs must come again, or augmentation hides equal images
_NEARLY_ALL = 0.9  # of the training images: an evaluation of the training split itself shows them
_EVALUATIONS = 3  # in a row in which validation must be as good as what was memorised
_MEMORISED = 0.03  # of log C: training loss of memorised images
_ALIKE_RATIO = 1.2  # validation loss over the training loss of memorised images
_ENOUGH = 100  # validation images: fewer may all be easy


class DataLeak(Rule):
    """Found when more than `max_share` of a split's images are training images too.

    The dataset itself tells it, or the inputs do: an input of an evaluation with the same fingerprint as one of
    training is the same image. Where neither is known and nothing varies the training images, there is a hint:
    memorised images have a loss near 0, and validation images whose loss is as low in the last evaluations were
    probably memorised too. As a dataset can be that easy, the hint is an information only. SageMaker has no such rule.
    """

    severity = Severity.SEVERE

    max_share: float = setting(0.01, "share of a split's images that are in training", low=0, below=1)

    def needs(self) -> Needs:
        return Needs(counted="evaluations", points=1, mode="eval")

    def check(self, view: RunView) -> list[Finding]:
        listed, finding = list(self._listed(view)), self._by_fingerprints(view)
        # The surest evidence first: files, then inputs, then losses.
        if listed:
            return listed
        if finding:
            return [finding]
        if hint := self._hint(view):
            return [hint]
        if view.context.duplicates:
            return [self.clear(value=_share(view, "valid"), threshold=self.max_share, unit="of the split")]
        cause = "neither the dataset nor the inputs show which images are equal"
        return [self.not_enough_data(have=0, of="evaluations with fingerprints of inputs", cause=cause)]

    def _listed(self, view: RunView) -> Iterator[Finding]:
        """Yield the splits whose duplicates the dataset lists: known before the first step."""
        for split, count in view.context.duplicates.items():
            share = _share(view, split)
            if split != "train" and count >= _IMAGES and share > self.max_share:
                total = f" of {view.context.valid_size}" if split == "valid" and view.context.valid_size else ""
                cause = f"{count}{total} images of the {split} split are in training"
                yield self._leak(view, split, share, cause, (0, view.done()))

    def _by_fingerprints(self, view: RunView) -> Finding | None:
        """Judge by fingerprints of the inputs; None where there are none or augmentation makes every input new."""
        training = _fingerprints(view.raw("input_hashes"))
        unique, epochs = np.unique(training), len({at.epoch for at, _ in view.raw("input_hashes")})
        held_out = np.unique(_fingerprints(_held_out(view.raw("input_hashes", "eval"), unique)))
        if not len(training) or not len(held_out):
            return None
        repeated = np.isin(held_out, unique)
        share = float(repeated.mean())
        if repeated.sum() >= _IMAGES and share > self.max_share:
            cause = f"{repeated.sum()} of {len(held_out)} validation images were inputs of training too"
            return self._leak(view, "valid", share, cause, _steps_between(view))
        share_repeated = 1 - len(unique) / len(training)
        if epochs < 2 or share_repeated < _REPEATED:
            return None
        return self.clear(value=share, threshold=self.max_share, unit="of the split")

    def _hint(self, view: RunView) -> Finding | None:
        """Judge by the losses, where nothing better is known and nothing varies the training images."""
        evaluations = _complete(view.evaluations())
        images = view.context.valid_size or _images_per_evaluation(view)
        if view.context.duplicates or _varied(view) or images < _ENOUGH or len(evaluations) < _EVALUATIONS + 1:
            return None
        count = class_count(view.context, view.predictions("eval"))
        memorised, valid = _memorised(evaluations)[-_EVALUATIONS:], evaluations.valid_loss[-_EVALUATIONS:]
        ratio = float(np.max(valid / np.maximum(memorised, 1e-12)))
        if not (count > 1 and np.max(memorised) <= _MEMORISED * math.log(count) and ratio <= _ALIKE_RATIO):
            return None
        return self.found(
            value=ratio,
            threshold=_ALIKE_RATIO,
            unit="validation loss over that of memorised images",
            severity=Severity.INFO,
            steps=(evaluations.steps[-_EVALUATIONS], evaluations.steps[-1]),
            subject="valid",
            cause=(
                f"the model has memorised its training images (loss {memorised[-1]:.2g}), and its loss on validation "
                f"images is as low ({valid[-1]:.2g}): they may be the same images"
            ),
            advice="Check for equal images in both splits: `clearsight data` lists them.",
            confidence=0.5,
            evidence=(
                Series.of("validation loss", evaluations.steps, evaluations.valid_loss),
                Series.of("training loss of the epoch after", evaluations.steps, _memorised(evaluations)),
            ),
        )

    def _leak(self, view: RunView, split: str, share: float, cause: str, steps: tuple[int, int]) -> Finding:
        return self.found(
            value=share,
            threshold=self.max_share,
            unit="of the split",
            severity=Severity.SEVERE if share > _SEVERE else Severity.WARNING,
            subject=split,
            cause=f"{cause}: its scores measure how well they are memorised",
            advice=f"Remove the images of the {split} split from training, or split the data again.",
            confidence=0.99,
            evidence=Series.of("share of the split in training", [0], [share]),
            steps=steps,
        )


def _share(view: RunView, split: str) -> float:
    """Return the share of a split's images that are in training.

    An unknown size counts as that of the validation split.
    """
    count = view.context.duplicates.get(split, 0)
    return min(1.0, count / (view.context.valid_size or 100 * _IMAGES))


def _fingerprints(saved: SavedInputs) -> Ints:
    """Return the fingerprints of inputs, one per image and time that it was an input."""
    parts = [np.asarray(value, np.int64).ravel() for _, value in saved]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _held_out(saved: SavedInputs, training: Ints) -> SavedInputs:
    """Return the evaluated batches without evaluations of the training split itself, which many loops make as well.

    Such an evaluation has whole batches that together are (nearly) all of training, beside others that are not.
    """
    shares = np.array([np.isin(value, training).mean() for _, value in saved])
    trained = shares == 1
    if not trained.any() or trained.all():
        return saved
    covered = np.unique(_fingerprints([batch for batch, inside in zip(saved, trained, strict=True) if inside]))
    if len(covered) < _NEARLY_ALL * len(training):
        return saved
    return [batch for batch, inside in zip(saved, trained, strict=True) if not inside]


def _steps_between(view: RunView) -> tuple[int, int]:
    """Return the training steps of the first and the last fingerprint of an evaluation."""
    steps = [at.train_step for at, _ in view.raw("input_hashes", "eval")]
    return min(steps), max(steps)


def _images_per_evaluation(view: RunView) -> int:
    """Return the number of images of the last evaluation."""
    epochs = view.predictions("eval").epochs
    return int(np.count_nonzero(epochs == epochs[-1])) if len(epochs) else 0


def _varied(view: RunView) -> bool:
    """Return True if training is made harder than validation on purpose, so that a low validation loss says nothing."""
    settings = view.context.settings
    changed = settings.get("augment", "none") != "none" or settings.get("sampling", "natural") != "natural"
    weighted = settings.get("class_weights", "none") != "none"
    softened = any(settings.get(name) for name in ("mixup", "cutmix", "label_smoothing", "dropout", "ema"))
    return changed or weighted or softened or any(layer.kind == "dropout" for layer in view.context.layers)


def _complete(evaluations: EvaluationTable) -> EvaluationTable:
    """Return the evaluations of which both losses are known."""
    known = np.isfinite(evaluations.train_loss) & np.isfinite(evaluations.valid_loss)
    return EvaluationTable(*(getattr(evaluations, field.name)[known] for field in fields(EvaluationTable)))


def _memorised(evaluations: EvaluationTable) -> Floats64:
    """Return the training loss of the epoch after each evaluation, (R,), which is as far; of the last one its own."""
    return np.append(evaluations.train_loss[1:], evaluations.train_loss[-1])
