"""DataLeak: images of the validation or test split are among the training images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.statistics import wilson
from clearsight.core.tensors import Moment
from clearsight.core.view import Ints, RunView
from clearsight.debugger.analysis.loss_curve import train_valid_curves
from clearsight.debugger.analysis.near_duplicates import near_duplicates
from clearsight.debugger.analysis.predictions import class_count
from clearsight.debugger.analysis.split_inputs import equal_images
from clearsight.debugger.analysis.thumbnails import both_thumbnails

SavedInputs = list[tuple[Moment, npt.NDArray[Any]]]

_IMAGES = 2  # a single duplicate is an accident
_SEVERE = 0.1  # of a split: from here on its scores say little
_REPEATED = 0.1  # of the training inputs must come again, or augmentation hides equal images
_NEARLY_ALL = 0.9  # of the training images: an evaluation of the training split itself shows them
_EVALUATIONS = 3  # in a row in which validation must be as good as what was memorised
_MEMORISED = 0.03  # of log C: training loss of memorised images
_ALIKE_RATIO = 1.2  # validation loss over the training loss of memorised images
_NEAR = 0.06  # of validation images nearly as training has them, at the lower end of the interval; 3 % are by chance
_BLOCK, _BLOCKS, _EVEN = 6, 8, 0.25  # near images of a block, blocks at most, share of the mean that each must have
_LARGER = 1.02  # images of an evaluation over those of an epoch: from here on it may hold training images beside others
_EQUAL = 0.05  # of the validation images, which the data themselves may hold twice
_ENOUGH = 100  # validation images: fewer may all be easy


class DataLeak(Rule):
    """Found when more than `max_share` of a split's images are training images too.

    Optimizer steps on batches of another dataset, which met the model in evaluation mode, train on validation images.
    Otherwise the dataset itself tells it, or the inputs do: an input of an evaluation with the same fingerprint as one
    of training is the same image. Where augmentation makes every input a new one, thumbnails tell it: many images of an
    evaluation are far nearer to a training image, but for a shift or a mirroring, than to any other image of their own
    split, all over the evaluation; one that reads the training images beside others is not judged. Where neither is
    known and nothing varies the training images, there is a hint: memorised images have a loss near 0, and validation
    images whose loss is as low in the last evaluations were probably memorised too. As a dataset can be that easy, the
    hint is an information only. SageMaker has no such rule.
    """

    severity = Severity.SEVERE

    max_share: float = setting(0.01, "share of a split's images that are in training", low=0, below=1)

    def needs(self) -> Needs:
        return Needs(counted="evaluations", points=1, mode="eval")

    def check(self, view: RunView) -> list[Finding]:
        # The surest evidence first: files, then inputs, then losses.
        if view.context.loop.held_out_steps >= _IMAGES:
            return [self._trained(view)]
        if listed := list(self._listed(view)):
            return listed
        if finding := self._by_fingerprints(view) or self._by_thumbnails(view) or self._hint(view):
            return [finding]
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
                yield self._leak(split, share, cause, (0, view.done()))

    def _trained(self, view: RunView) -> Finding:
        count = view.context.loop.held_out_steps
        cause = f"{count} optimizer steps followed batches of another dataset than that of the training, with the "
        cause += "model in evaluation mode: the evaluation trains on its images"
        return self.found(
            value=count,
            threshold=_IMAGES,
            unit="steps",
            steps=(1, view.done()),
            subject="valid",
            cause=cause,
            advice="Leave backward() and optimizer.step() out of the evaluation, and compute it under torch.no_grad().",
            confidence=0.9,
        )

    def _by_fingerprints(self, view: RunView) -> Finding | None:
        """Judge by fingerprints of the inputs; None where there are none or augmentation makes every input new."""
        # Training batches that looked like validation, because the model was in evaluation mode, and the reverse.
        misread, misread_train = frozenset(view.context.loop.misread), frozenset(view.context.loop.misread_train)
        saved = [batch for batch in view.raw("input_hashes") if batch[0].step not in misread_train]
        evaluated = [batch for batch in view.raw("input_hashes", "eval") if batch[0].step not in misread]
        training = _fingerprints(saved)
        unique = np.unique(training)
        validation = _held_out(evaluated, unique)
        held_out = np.unique(_fingerprints(validation))
        # Images that have lost what differs are equal without being the same.
        equal, images = equal_images(validation)
        if equal > _EQUAL * images:
            return None
        if not len(training) or not len(held_out):
            return None
        repeated = np.isin(held_out, unique)
        share = float(repeated.mean())
        if repeated.sum() >= _IMAGES and share > self.max_share:
            cause = f"{repeated.sum()} of {len(held_out)} validation images were inputs of training too"
            steps = [at.train_step for at, _ in evaluated]
            return self._leak("valid", share, cause, (min(steps), max(steps)))
        share_repeated = 1 - len(unique) / len(training)
        if len({at.epoch for at, _ in saved}) < 2 or share_repeated < _REPEATED:
            return None
        return self.clear(value=share, threshold=self.max_share, unit="of the split")

    def _by_thumbnails(self, view: RunView) -> Finding | None:
        """Judge by thumbnails, which know a training image again that augmentation has changed."""
        splits, evaluated = both_thumbnails(view), view.raw("input_hashes", "eval")
        if splits is None or not evaluated:
            return None
        trained = sum(len(value) for at, value in view.raw("input_hashes") if at.epoch == 1)
        tested = sum(len(value) for at, value in evaluated if at.train_step == evaluated[0][0].train_step)
        # Many loops evaluate the training split too, beside the validation split or as long as there is no other one.
        if tested > _LARGER * trained or (tested >= trained / _LARGER and not view.ended):
            return None
        near = near_duplicates(*splits)
        count = int(near.sum())
        if count < 2 * _BLOCK or wilson(count, len(near)).low < _NEAR:
            return None
        blocks = np.array_split(near, min(_BLOCKS, count // _BLOCK))
        if min(float(block.mean()) for block in blocks) < _EVEN * near.mean():
            return None
        share = count / len(near)
        cause = (
            f"{count} of {len(near)} validation images are nearly those of {len(splits[0])} training images, but for "
        )
        cause += "their random changes"
        return self._leak("valid", share, cause, (splits[1].step, splits[1].step))

    def _hint(self, view: RunView) -> Finding | None:
        """Judge by the losses, where nothing better is known and nothing varies the training images."""
        curves, predictions = train_valid_curves(view), view.predictions("eval")
        # By number of predictions in the last evaluation, where the size of the split is not known.
        images = view.context.valid_size or np.count_nonzero(predictions.epochs == predictions.epochs[-1:])
        if view.context.duplicates or _varied(view) or images < _ENOUGH or len(curves) < _EVALUATIONS + 1:
            return None
        count = class_count(view.context, predictions)
        # Training as far as each evaluation is the epoch after it; of the last one its own.
        training = np.append(curves.train[1:], curves.train[-1])
        memorised, valid = training[-_EVALUATIONS:], curves.valid[-_EVALUATIONS:]
        ratio = float(np.max(valid / np.maximum(memorised, 1e-12)))
        if not (count > 1 and np.max(memorised) <= _MEMORISED * math.log(count) and ratio <= _ALIKE_RATIO):
            return None
        return self.found(
            value=ratio,
            threshold=_ALIKE_RATIO,
            unit="validation loss over that of memorised images",
            severity=Severity.INFO,
            steps=(curves.steps[-_EVALUATIONS], curves.steps[-1]),
            subject="valid",
            cause=f"the model has memorised its training images (loss {memorised[-1]:.2g}), and its loss on validation "
            f"images is as low ({valid[-1]:.2g}): they may be the same images",
            advice="Check for equal images in both splits: `clearsight data` lists them.",
            confidence=0.5,
            evidence=(
                Series.of("validation loss", curves.steps, curves.valid),
                Series.of("training loss of the epoch after", curves.steps, training),
            ),
        )

    def _leak(self, split: str, share: float, cause: str, steps: tuple[int, int]) -> Finding:
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
    """Return the share of a split's images that are in training, as if it were as large as the validation split."""
    return min(1.0, view.context.duplicates.get(split, 0) / (view.context.valid_size or 100 * _IMAGES))


def _fingerprints(saved: SavedInputs) -> Ints:
    """Return the fingerprints of inputs, one per image and time that it was an input."""
    return np.concatenate([np.empty(0, np.int64), *(np.asarray(value, np.int64).ravel() for _, value in saved)])


def _held_out(saved: SavedInputs, training: Ints) -> SavedInputs:
    """Return the evaluated batches without evaluations of the training split itself, which many loops make as well."""
    # Such an evaluation has whole batches that together are (nearly) all of training, beside others that are not.
    shares = np.array([np.isin(value, training).mean() for _, value in saved])
    trained = shares == 1
    if not trained.any() or trained.all():
        return saved
    covered = np.unique(_fingerprints([batch for batch, inside in zip(saved, trained, strict=True) if inside]))
    if len(covered) < _NEARLY_ALL * len(training):
        return saved
    return [batch for batch, inside in zip(saved, trained, strict=True) if not inside]


def _varied(view: RunView) -> bool:
    """Return True if training is made harder than validation on purpose, so that a low validation loss says nothing."""
    settings = view.context.settings
    changed = settings.get("augment", "none") != "none" or settings.get("sampling", "natural") != "natural"
    weighted = settings.get("class_weights", "none") != "none"
    softened = any(settings.get(name) for name in ("mixup", "cutmix", "label_smoothing", "dropout", "ema"))
    return changed or weighted or softened or any(layer.kind == "dropout" for layer in view.context.layers)
