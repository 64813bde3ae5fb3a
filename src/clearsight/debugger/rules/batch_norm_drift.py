"""BatchNormDrift: with the same images and weights, evaluation mode gives a worse loss than training mode."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Curve, Floats64, Ints, RunView
from clearsight.debugger.analysis.predictions import class_count

_MOST = 0.75  # of the comparisons must be worse in evaluation mode: a drift does not change sides
_FIRST_STEPS = 20  # before them, batches of a few images are not judged: every run starts with noise
_LATEST, _ALIKE = 2, 0.05  # evaluations whose accuracy may be so far below that of the training
_INITIAL = 0.5  # share of the initial statistics that is left
_PROPOSED_BATCH = 32  # batch size that a fix proposes: enough images for a stable mean


class BatchNormDrift(Rule):
    """Found when BatchNorm's running statistics do not fit the batches that the model is trained on.

    A batch is computed twice with the same weights, in training and in evaluation mode, and the losses are compared.
    Found if evaluation is worse by the factor `ratio` and by `gap` of log C, as the median of the later half of the
    comparisons; half the gap is enough where BatchNorm's momentum is so low that most of the initial statistics are
    left at the end. Running averages lag behind in every healthy run: in the first `warm_up` steps (momentum 0.1), and
    while weights move fast. So three times as many comparisons are needed while the run goes on. It is an information
    where the last evaluations are as accurate as the training beside them.

    Batches of `small_batch` images or fewer are judged more strictly: a mean over so few images is noise, in either
    direction, and training suffers from it (Wu and He 2018, "Group Normalization", figure 1). There it is enough that
    the losses differ by `disagreement` of themselves. Where nothing was compared (compiled models), such batches are
    found if validation is far worse than training from the first evaluations on. SageMaker has no such rule.
    """

    explains = (
        *("Overfit", "Overtraining", "LossOscillating", "LossNotDecreasing"),
        *("UnderfitCapacity", "Confusion", "LearningRateTooHigh"),
    )

    ratio: float = setting(1.5, "loss in evaluation mode over loss in training mode", above=1)
    gap: float = setting(0.2, "difference of these losses", above=0, unit="of log C")
    warm_up: int = setting(50, "steps until the running statistics are usable", low=0, unit="steps")
    comparisons: int = setting(2, "comparisons that are needed after the warm-up", low=1)
    small_batch: int = setting(4, "largest batch whose statistics are noise", low=0)
    disagreement: float = setting(0.1, "mean difference over the mean loss, for small batches", above=0)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.comparisons)

    def check(self, view: RunView) -> list[Finding]:
        norms = [layer for layer in view.context.layers if layer.is_batch_norm]
        if view.context.layers and all(layer.frozen for layer in norms):
            return [self.clear(value=0.0, threshold=self.ratio, cause="no BatchNorm layer is in training mode")]
        comparisons = _comparisons(view.scalar("train_mode_loss"), view.scalar("eval_mode_loss"))
        late, table = comparisons.after(self.warm_up), view.predictions()
        batch = round(float(np.median(np.bincount(table.batches)))) if len(table) else view.context.batch_size
        chance = math.log(max(class_count(view.context, table), 2))
        small = 0 < batch <= self.small_batch
        slow = bool(norms) and all(norm.rate > 0 and (1 - norm.rate) ** view.done() > _INITIAL for norm in norms)
        finding = self._drift(view, late, batch, chance * (0.5 if slow else 1.0))
        finding = finding or (self._noise(view, comparisons, batch) if small else None)
        if finding:
            return [finding]
        if len(late) >= self.comparisons:
            return [self.clear(value=late.recent(self.comparisons).ratio, threshold=self.ratio)]
        if view.context.compiled and small and norms and len(view.evaluations()) > 1:
            return [self._by_validation(view, batch, chance)]
        return [self.not_enough_data(have=len(late), of=f"comparisons after step {self.warm_up}")]

    def _drift(self, view: RunView, late: _Comparisons, batch: int, chance: float) -> Finding | None:
        """Return a finding if evaluation mode is worse most of the time."""
        # At the end nothing more will come, so fewer comparisons have to do.
        if len(late) < self.comparisons * (1 if view.ended else 3):
            return None
        recent = late.recent(self.comparisons)
        far = float(np.median(recent.difference)) >= self.gap * chance and recent.ratio >= self.ratio
        if not far or np.mean(late.difference > 0) < _MOST:
            return None
        return self.found(
            value=recent.ratio,
            threshold=self.ratio,
            cause=f"on the same batch with the same weights the loss is {np.median(recent.evaluating):.3g} in "
            f"evaluation mode and {np.median(recent.training):.3g} in training mode",
            severity=Severity.INFO if _is_harmless(view) else self.severity,
            **late.finding_fields(),
            **_remedy(view, batch),
        )

    def _noise(self, view: RunView, comparisons: _Comparisons, batch: int) -> Finding | None:
        """Return a finding for small batches on which both modes disagree in either direction."""
        early = comparisons.after(_FIRST_STEPS)
        if len(early) < self.comparisons:
            return None
        disagreement = float(np.mean(np.abs(early.difference)) / max(float(np.mean(early.training)), 1e-12))
        if disagreement < self.disagreement:
            return None
        return self.found(
            value=disagreement,
            threshold=self.disagreement,
            cause=f"BatchNorm computes its statistics over batches of {batch} images: on the same batch the losses in "
            f"training and evaluation mode differ by {disagreement:.0%}",
            confidence=0.8,
            **early.finding_fields(),
            **_remedy(view, batch),
        )

    def _by_validation(self, view: RunView, batch: int, chance: float) -> Finding:
        """Judge by validation, where nothing could be compared."""
        evaluations = view.evaluations()
        gap = evaluations.valid_loss - evaluations.train_loss
        known = np.isfinite(gap)
        if known.sum() < 2:
            return self.not_enough_data(have=int(known.sum()), want=2, of="evaluations with a training loss")
        smallest_gap = float(gap[known].min()) / chance
        if smallest_gap < self.gap:
            return self.clear(value=smallest_gap, threshold=self.gap, unit="of log C")
        return self.found(
            value=smallest_gap,
            threshold=self.gap,
            unit="of log C",
            steps=(evaluations.steps[known][0], evaluations.steps[known][-1]),
            subject="BatchNorm",
            cause=f"BatchNorm computes its statistics over batches of {batch} images, and the validation loss is above "
            f"the training loss by {np.median(gap[known]):.3g} from the first evaluation on",
            confidence=0.6,
            evidence=Series.of("validation loss above training loss", evaluations.steps[known], gap[known]),
            **_remedy(view, batch),
        )


def _is_harmless(view: RunView) -> bool:
    """Return True if the last evaluations are as right as the training beside them: the statistics fit again."""
    table = view.evaluations()
    gaps = (table.train_accuracy - table.valid_accuracy)[-_LATEST:]
    return len(gaps) == _LATEST and bool((gaps <= _ALIKE).all())  # False for a NaN: unknown


@dataclass(frozen=True, slots=True)
class _Comparisons:
    """Losses of both modes at the steps where both are known; all (S,)."""

    steps: Ints
    training: Floats64
    evaluating: Floats64

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def difference(self) -> Floats64:
        return self.evaluating - self.training

    @property
    def ratio(self) -> float:
        """Median of the loss in evaluation mode over that in training mode."""
        return float(np.median(self.evaluating / np.maximum(self.training, 1e-12)))

    def after(self, step: int) -> _Comparisons:
        """Return the comparisons after a step."""
        late = self.steps > step
        return _Comparisons(self.steps[late], self.training[late], self.evaluating[late])

    def recent(self, least: int) -> _Comparisons:
        """Return the later half, and no fewer than `least`."""
        # The later half, by which running averages have caught up with the weights.
        part = slice(-max(least, len(self) // 2), None)
        return _Comparisons(self.steps[part], self.training[part], self.evaluating[part])

    def finding_fields(self) -> dict[str, Any]:
        """Return the fields of a finding that describe these comparisons."""
        lines = {"train_mode_loss": self.training, "eval_mode_loss": self.evaluating}
        return {
            "steps": (self.steps[0], self.steps[-1]),
            "subject": "BatchNorm",
            "evidence": tuple(Series.of(name, self.steps, values) for name, values in lines.items()),
        }


def _comparisons(training: Curve, evaluating: Curve) -> _Comparisons:
    steps, left, right = np.intersect1d(training.steps, evaluating.steps, return_indices=True)
    first, second = training.values[left], evaluating.values[right]
    known = np.isfinite(first) & np.isfinite(second)
    return _Comparisons(steps[known], first[known], second[known])


def _remedy(view: RunView, batch: int) -> dict[str, Any]:
    fix: dict[str, Any] = {}
    advice = "Set BatchNorm's momentum to 0.1, shuffle the training images, or lower the learning rate."
    if 0 < batch < _PROPOSED_BATCH // 2:
        fix, advice = {"batch_size": _PROPOSED_BATCH}, "Or keep BatchNorm layers in evaluation mode during training."
    elif view.context.pretrained and view.context.settings.get("freeze") == "none":
        fix, advice = {"freeze": "backbone"}, "Or keep only BatchNorm layers in evaluation mode during training."
    return {"fix": fix, "advice": advice}
