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
from clearsight.debugger.analysis.predictions import classes

Saved = list[tuple[Moment, npt.NDArray[Any]]]

_IMAGES = 2  # a single one is an accident
_SEVERE = 0.1  # of a split: its scores say little
_REPEATED = 0.1  # of the training inputs that must have come again, or augmentation hides what is the same
_WHOLE = 0.9  # of the training images: what a pass over the training split shows
_ROUNDS = 3  # in which validation is as good as what was memorised
_MEMORISED = 0.03  # of log C, the training loss of images that are known by heart
_ALIKE = 1.2  # validation loss over that
_ENOUGH = 100  # validation images: fewer may all be easy


class DataLeak(Rule):
    """Found when more than `max_share` of a split's images are training images too.

    That is known from the data set itself, or seen in the inputs: an input of an evaluation with the same fingerprint
    as one of training is the same image. Where neither is known and nothing varies the training images, there is
    a hint: images that are memorised have a loss near 0, and validation images as low in the last evaluations were
    probably memorised too. As a data set can be that easy, the hint is an information only.
    """

    severity = Severity.SEVERE

    max_share: float = setting(0.01, "of a split's images that are in training", low=0, below=1)

    def needs(self) -> Needs:
        return Needs(counted="rounds", points=1, mode="eval")

    def check(self, view: RunView) -> Iterator[Finding]:
        listed, seen = list(self._listed(view)), self._seen(view)
        if listed:
            yield from listed
        elif seen:
            yield seen
        elif hint := self._hint(view):
            yield hint
        elif view.facts.duplicates:
            yield self.clear(value=_share(view, "valid"), threshold=self.max_share, unit="of the split")
        else:
            cause = "neither the data set nor the inputs tell which images are the same"
            yield self.not_enough_data(have=0, of="evaluations with fingerprints of inputs", cause=cause)

    def _listed(self, view: RunView) -> Iterator[Finding]:
        """By the data set: known before the first step."""
        for split, number in view.facts.duplicates.items():
            share = _share(view, split)
            if split != "train" and number >= _IMAGES and share > self.max_share:
                whole = f" of {view.facts.valid_size}" if split == "valid" and view.facts.valid_size else ""
                cause = f"{number}{whole} images of the {split} split are in training"
                yield self._found(view, split, share, cause, (0, view.done()))

    def _seen(self, view: RunView) -> Finding | None:
        """By fingerprints of the inputs; None where there are none or augmentation makes every input new."""
        training = _fingerprints(view.raw("input_hashes"))
        unique, epochs = np.unique(training), len({at.epoch for at, _ in view.raw("input_hashes")})
        known = np.unique(_fingerprints(_held_out(view.raw("input_hashes", "eval"), unique)))
        if not len(training) or not len(known):
            return None
        again = np.isin(known, unique)
        share = float(again.mean())
        if again.sum() >= _IMAGES and share > self.max_share:
            cause = f"{again.sum()} of {len(known)} validation images were given to the model in training too"
            return self._found(view, "valid", share, cause, _span(view))
        repeated = 1 - len(unique) / len(training)
        if epochs < 2 or repeated < _REPEATED:
            return None
        return self.clear(value=share, threshold=self.max_share, unit="of the split")

    def _hint(self, view: RunView) -> Finding | None:
        """By the losses, where nothing better is known and nothing varies the training images."""
        rounds = _complete(view.rounds())
        counted = view.facts.valid_size or _per_round(view)
        if view.facts.duplicates or _varied(view) or counted < _ENOUGH or len(rounds) < _ROUNDS + 1:
            return None
        count = classes(view.facts, view.outcomes("eval"))
        memorised, valid = _memorised(rounds)[-_ROUNDS:], rounds.valid_loss[-_ROUNDS:]
        ratio = float(np.max(valid / np.maximum(memorised, 1e-12)))
        if not (count > 1 and np.max(memorised) <= _MEMORISED * math.log(count) and ratio <= _ALIKE):
            return None
        return self.found(
            value=ratio,
            threshold=_ALIKE,
            unit="validation loss over that of memorised images",
            severity=Severity.INFO,
            steps=(rounds.steps[-_ROUNDS], rounds.steps[-1]),
            subject="valid",
            cause=(
                f"the model knows its training images by heart (loss {memorised[-1]:.2g}), and the validation "
                f"images as well (loss {valid[-1]:.2g}): are they the same?"
            ),
            advice="Look for the same images in both splits: `clearsight data` lists them.",
            confidence=0.5,
            evidence=(
                Series.of("validation loss", rounds.steps, rounds.valid_loss),
                Series.of("training loss of the epoch after", rounds.steps, _memorised(rounds)),
            ),
        )

    def _found(self, view: RunView, split: str, share: float, cause: str, steps: tuple[int, int]) -> Finding:
        return self.found(
            value=share,
            threshold=self.max_share,
            unit="of the split",
            severity=Severity.SEVERE if share > _SEVERE else Severity.WARNING,
            subject=split,
            cause=f"{cause}: its scores tell how well they are remembered",
            advice=f"Take the images of the {split} split out of training, or split the data again.",
            confidence=0.99,
            evidence=Series.of("share of the split in training", [0], [share]),
            steps=steps,
        )


def _share(view: RunView, split: str) -> float:
    """Of a split's images those in training; where its size is not known, that of the validation split stands in."""
    number = view.facts.duplicates.get(split, 0)
    return min(1.0, number / (view.facts.valid_size or 100 * _IMAGES))


def _fingerprints(saved: Saved) -> Ints:
    """Fingerprints of inputs, one per image and time that it was shown."""
    parts = [np.asarray(value, np.int64).ravel() for _, value in saved]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _held_out(saved: Saved, training: Ints) -> Saved:
    """Evaluated batches without those of a pass over the training split itself, which many loops make as well.

    Such a pass is whole batches that together are (nearly) all of training, beside others that are not.
    """
    shares = np.array([np.isin(value, training).mean() for _, value in saved])
    whole = shares == 1
    if not whole.any() or whole.all():
        return saved
    passed = np.unique(_fingerprints([one for one, inside in zip(saved, whole, strict=True) if inside]))
    if len(passed) < _WHOLE * len(training):
        return saved
    return [one for one, inside in zip(saved, whole, strict=True) if not inside]


def _span(view: RunView) -> tuple[int, int]:
    """Training steps between the first and the last fingerprint of an evaluation."""
    steps = [at.train_step for at, _ in view.raw("input_hashes", "eval")]
    return min(steps), max(steps)


def _per_round(view: RunView) -> int:
    """Images of the last evaluation."""
    epochs = view.outcomes("eval").epochs
    return int(np.count_nonzero(epochs == epochs[-1])) if len(epochs) else 0


def _varied(view: RunView) -> bool:
    """Whether training is made harder than validation on purpose, so that a low validation loss says nothing."""
    settings = view.facts.settings
    changed = settings.get("augment", "none") != "none" or settings.get("sampling", "natural") != "natural"
    weighed = settings.get("class_weights", "none") != "none"
    softened = any(settings.get(name) for name in ("mixup", "cutmix", "label_smoothing", "dropout", "ema"))
    return changed or weighed or softened or any(layer.kind == "dropout" for layer in view.facts.layers)


def _complete(rounds: EvaluationTable) -> EvaluationTable:
    """Those evaluations of which both losses are known."""
    known = np.isfinite(rounds.train_loss) & np.isfinite(rounds.valid_loss)
    return EvaluationTable(*(getattr(rounds, field.name)[known] for field in fields(EvaluationTable)))


def _memorised(rounds: EvaluationTable) -> Floats64:
    """(R,) training loss of the epoch after each evaluation, which knows as much; of the last one that before it."""
    return np.append(rounds.train_loss[1:], rounds.train_loss[-1])
