"""BatchNormDrift: the same images, the same weights, another answer in evaluation mode."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Curve, Floats64, Ints, RunView
from clearsight.debugger.analysis.predictions import classes

_OFTEN = 0.75  # of the comparisons must lie on the same side
_SOON = 20  # steps after which batches of a few images are judged
_BATCH = 32  # what a fix proposes


class BatchNormDrift(Rule):
    """Found when BatchNorm's running statistics do not stand for the batches that the model is trained on.

    A batch is answered twice with the same weights, in training and in evaluation mode, and the losses are compared.
    Found if evaluation is worse by `ratio` and by `gap` of log C, as the median of the later half of the comparisons.
    Running averages lag behind in every healthy run, in the first `warm_up` steps (momentum 0.1) and while weights move
    fast, so that three times as many comparisons are needed while the run goes on. Batches of `small_batch` images
    or fewer are found by less: a mean over so few is noise, in either direction, and training suffers from it (Wu and
    He 2018, "Group Normalization", figure 1). There the losses need only differ by `disagreement` of themselves. Where
    nothing was compared (compiled models), such batches are found if validation is far worse than training from the
    first evaluations on.
    """

    explains = (
        *("Overfit", "Overtraining", "LossOscillating", "LossNotDecreasing"),
        *("UnderfitCapacity", "Confusion", "LearningRateTooHigh"),
    )

    ratio: float = setting(1.5, "loss in evaluation mode over that in training mode", above=1)
    gap: float = setting(0.2, "their difference", above=0, unit="of log C")
    warm_up: int = setting(50, "steps until running statistics have settled", low=0, unit="steps")
    comparisons: int = setting(2, "comparisons that are needed after them", low=1)
    small_batch: int = setting(4, "images of a batch whose statistics are noise", low=0)
    disagreement: float = setting(0.1, "mean difference, in small batches, of the mean loss", above=0)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.comparisons)

    def check(self, view: RunView) -> Iterator[Finding]:
        if view.facts.layers and not _trained_norm(view):
            yield self.clear(value=0.0, threshold=self.ratio, cause="no BatchNorm is in training mode")
            return
        compared = _compared(view.scalar("train_mode_loss"), view.scalar("eval_mode_loss"))
        late, table = compared.after(self.warm_up), view.outcomes()
        batch = round(float(np.median(np.bincount(table.batches)))) if len(table) else view.facts.batch_size
        scale = math.log(max(classes(view.facts, table), 2))
        small = 0 < batch <= self.small_batch
        if found := self._drift(view, late, batch, scale) or (self._noise(view, compared, batch) if small else None):
            yield found
        elif len(late) >= self.comparisons:
            yield self.clear(value=late.recent(self.comparisons).times, threshold=self.ratio)
        elif view.facts.compiled and small and _trained_norm(view) and len(view.rounds()) > 1:
            yield self._by_validation(view, batch, scale)
        else:
            yield self.not_enough_data(have=len(late), of=f"comparisons after step {self.warm_up}")

    def _drift(self, view: RunView, late: _Compared, batch: int, scale: float) -> Finding | None:
        """Evaluation mode is worse, again and again. While the run goes on three times as many must say so."""
        if len(late) < self.comparisons * (1 if view.ended else 3):
            return None
        recent = late.recent(self.comparisons)
        far = float(np.median(recent.difference)) >= self.gap * scale and recent.times >= self.ratio
        if not far or np.mean(late.difference > 0) < _OFTEN:
            return None
        return self.found(
            value=recent.times,
            threshold=self.ratio,
            cause=(
                f"on the same batch with the same weights the loss is {np.median(recent.evaluating):.3g} in evaluation "
                f"mode and {np.median(recent.training):.3g} in training mode"
            ),
            **late.told(),
            **_way_out(view, batch),
        )

    def _noise(self, view: RunView, compared: _Compared, batch: int) -> Finding | None:
        """Small batches, on which both modes disagree in either direction."""
        seen = compared.after(_SOON)
        if len(seen) < self.comparisons or seen.apart < self.disagreement:
            return None
        return self.found(
            value=seen.apart,
            threshold=self.disagreement,
            cause=(
                f"BatchNorm takes its statistics over batches of {batch} images: on the same batch the losses of "
                f"training and evaluation mode differ by {seen.apart:.0%}"
            ),
            confidence=0.8,
            **seen.told(),
            **_way_out(view, batch),
        )

    def _by_validation(self, view: RunView, batch: int, scale: float) -> Finding:
        """The answer where nothing could be compared."""
        rounds = view.rounds()
        gap = rounds.valid_loss - rounds.train_loss
        known = np.isfinite(gap)
        if known.sum() < 2:
            return self.not_enough_data(have=int(known.sum()), want=2, of="evaluations beside training")
        least = float(gap[known].min()) / scale
        if least < self.gap:
            return self.clear(value=least, threshold=self.gap, unit="of log C")
        return self.found(
            value=least,
            threshold=self.gap,
            unit="of log C",
            steps=(rounds.steps[known][0], rounds.steps[known][-1]),
            subject="BatchNorm",
            cause=(
                f"BatchNorm takes its statistics over batches of {batch} images, and the validation loss is above "
                f"the training loss by {np.median(gap[known]):.3g} from the first evaluation on"
            ),
            confidence=0.6,
            evidence=Series.of("validation loss above training loss", rounds.steps[known], gap[known]),
            **_way_out(view, batch),
        )


@dataclass(frozen=True, slots=True)
class _Compared:
    """Steps at which both losses are known, and the losses; all (S,)."""

    steps: Ints
    training: Floats64
    evaluating: Floats64

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def difference(self) -> Floats64:
        return self.evaluating - self.training

    @property
    def times(self) -> float:
        return float(np.median(self.evaluating / np.maximum(self.training, 1e-12)))

    @property
    def apart(self) -> float:
        """Mean difference in either direction, of the mean loss."""
        return float(np.mean(np.abs(self.difference)) / max(float(np.mean(self.training)), 1e-12))

    def after(self, step: int) -> _Compared:
        """What came after a step."""
        late = self.steps > step
        return _Compared(self.steps[late], self.training[late], self.evaluating[late])

    def recent(self, least: int) -> _Compared:
        """The later half, and no fewer than `least`."""
        part = slice(-max(least, len(self) // 2), None)
        return _Compared(self.steps[part], self.training[part], self.evaluating[part])

    def told(self) -> dict[str, Any]:
        """What a finding says of them."""
        lines = {"train_mode_loss": self.training, "eval_mode_loss": self.evaluating}
        return {
            "steps": (self.steps[0], self.steps[-1]),
            "subject": "BatchNorm",
            "evidence": tuple(Series.of(name, self.steps, values) for name, values in lines.items()),
        }


def _compared(training: Curve, evaluating: Curve) -> _Compared:
    steps, left, right = np.intersect1d(training.steps, evaluating.steps, return_indices=True)
    first, second = training.values[left], evaluating.values[right]
    known = np.isfinite(first) & np.isfinite(second)
    return _Compared(steps[known], first[known], second[known])


def _trained_norm(view: RunView) -> bool:
    norms = (layer for layer in view.facts.layers if layer.kind == "norm" and "batch" in layer.type.lower())
    return any(not layer.frozen for layer in norms)


def _way_out(view: RunView, batch: int) -> dict[str, Any]:
    if 0 < batch < _BATCH // 2:
        return {"fix": {"batch_size": _BATCH}, "advice": "Or keep BatchNorm in evaluation mode while training."}
    if view.facts.pretrained and view.facts.settings.get("freeze") == "none":
        return {"fix": {"freeze": "backbone"}, "advice": "Or keep only BatchNorm in evaluation mode while training."}
    return {"advice": "Raise BatchNorm's momentum to 0.1, shuffle the images, or lower the learning rate."}
