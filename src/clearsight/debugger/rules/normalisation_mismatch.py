"""NormalisationMismatch: images are not normalised as the weights expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.preprocess import IMAGENET_MEAN, IMAGENET_STD
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, RunView
from clearsight.debugger.analysis.pixel_ends import FIT, USUAL, Ends, distance, normalised_ends

_OUTSIDE = 1.0  # range lengths beyond the expected ends: no image reaches that, not even with added noise
_RAW, _RAW_STD = 20.0, 10.0  # value and standard deviation that only pixels from 0 to 255 exceed
_MILD = (0.15, 0.3)  # shift and change of scale up to which the accuracy suffers little

_UNKNOWN = {"advice": "Compare with how the images were prepared for the weights in use, and change nothing else."}


class NormalisationMismatch(Rule):
    """Found when images are normalised otherwise than the pretrained weights expect, or not at all.

    Where both are known, the figures are compared: a mean off by more than `max_shift` of the pixel range, or a
    standard deviation by more than `max_scale` of itself; small differences are an information. Otherwise the
    normalisation is inferred from the inputs: over many images black and white occur, and show which values they got.
    All channels must agree on other values than the expected ones, for example 0 to 1. Images without dark or without
    bright pixels agree on nothing, and then the rule is clear. Pixels from 0 to 255 are found for weights from scratch
    too.

    What the weights expect is known from their own metadata or from the user. The configuration that a library keeps on
    the model describes its published weights, and others may have been loaded: where nothing else is known, the rule
    judges by the inputs alone, accepts that normalisation, ImageNet's and -1 to 1, gives an information and proposes
    no change. SageMaker has no such rule.
    """

    explains = (
        *("CheckInputImages", "NotLearning", "LossNotDecreasing", "UnderfitCapacity", "LearningRateTooHigh"),
        *("ExplodingTensor", "EarlyNaN", "DeadRelu", "SaturatedActivation", "LossOscillating", "Confusion"),
        *("PoorWeightInitialization", "BatchNormDrift"),
    )

    max_shift: float = setting(0.05, "largest difference of the means", above=0, unit="of the pixel range")
    max_scale: float = setting(0.1, "largest relative difference of the standard deviations", above=0)
    batches: int = setting(3, "saved batches that are needed", low=1)
    images: int = setting(32, "images that are needed", low=1, aliases=("pictures",))

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.batches)

    def check(self, view: RunView) -> list[Finding]:
        context = view.context
        mean, std = _expected(context)
        inputs = [] if context.cached else view.raw("input_channels")
        saved = [(at.step, value) for at, value in inputs if np.isfinite(value).all()]
        if mean and context.weights_mean and context.used_mean and context.used_std:
            finding = self._by_settings(view, mean, std)
            if finding.found or not saved:
                return [finding]
        if len(saved) < self.batches:
            cause = "the watched model gets features, not images" if context.cached else ""
            return [self.not_enough_data(have=len(saved), of="batches with saved channels", cause=cause)]
        steps = [step for step, _ in saved]
        predicted = int(np.count_nonzero(np.isin(view.predictions().steps, steps)))
        images = predicted or len(steps) * max(context.batch_size, 1)
        if images < self.images:
            return [self.not_enough_data(have=images, want=self.images, of="images")]
        return [self._by_inputs(context, steps, np.array([value for _, value in saved], float), mean, std)]

    def _by_settings(self, view: RunView, mean: tuple[float, ...], std: tuple[float, ...]) -> Finding:
        """Judge by the normalisation of the recipe and of the weights."""
        used_mean, used_std = np.asarray(view.context.used_mean), np.asarray(view.context.used_std)
        shift = float(np.abs(used_mean - mean).max())
        scale = float(np.abs(used_std / np.maximum(std, 1e-12) - 1).max())
        if shift <= self.max_shift and scale <= self.max_scale:
            return self.clear(value=shift, threshold=self.max_shift, unit="of the pixel range")
        mild = shift <= _MILD[0] and scale <= _MILD[1]
        by_shift = shift > self.max_shift
        return self.found(
            value=shift if by_shift else scale,
            threshold=self.max_shift if by_shift else self.max_scale,
            unit="of the pixel range" if by_shift else "of the standard deviation",
            severity=Severity.INFO if mild else Severity.WARNING,
            steps=(0, view.done()),
            subject="inputs",
            cause=f"images are normalised by mean {_listed(used_mean)} and standard deviation {_listed(used_std)}, the "
            f"weights expect {_listed(mean)} and {_listed(std)}",
            confidence=0.95,
            evidence=Series.of("mean by channel", np.arange(len(used_mean)), used_mean),
            **_remedy(view.context, mean, std),
        )

    def _by_inputs(
        self, context: RunContext, steps: list[int], ranges: Floats64, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> Finding:
        """Judge by the inputs of the model. ranges: (S, C, 4) mean, standard deviation, minimum and maximum."""
        low, high = ranges[:, :, 2].min(axis=0), ranges[:, :, 3].max(axis=0)
        raw = bool((high > _RAW).all() and np.median(ranges[:, :, 1]) > _RAW_STD)
        if not mean and not raw:
            return self.clear(value=float(np.abs([low, high]).max()), threshold=_RAW, unit="largest input")
        gap, actual = (1.0, "as pixels from 0 to 255") if raw else _mismatch((low, high), context, mean, std)
        if not actual:
            return self.clear(value=gap, threshold=FIT, unit="of the range")
        known = bool(context.weights_mean) or context.pretrained is False
        if not mean:  # from scratch: by the statistics of the images themselves
            mean, std = (tuple(np.median(ranges[:, :, column], axis=0) / 255) for column in (0, 1))
            expectation = "networks learn best from values around 0"
        else:
            whose = "the weights expect" if known else "published weights expect"
            expectation = f"{whose} mean {_listed(mean)} and standard deviation {_listed(std)} in [0, 1]"
        return self.found(
            value=high.max() if raw else gap,
            threshold=_RAW if raw else FIT,
            unit="largest input" if raw else "of the range",
            severity=Severity.WARNING if known else Severity.INFO,
            steps=(steps[0], steps[-1]),
            subject="inputs",
            cause=f"images come {actual} (channels from {_listed(low)} to {_listed(high)}); {expectation}",
            confidence=0.95 if raw else 0.8 if known else 0.5,
            evidence=tuple(
                Series.of(f"{name} of the first channel", steps, ranges[:, 0, column])
                for column, name in enumerate(("mean", "standard deviation", "smallest value", "largest value"))
            ),
            **(_remedy(context, mean, std) if known else _UNKNOWN),
        )


def _expected(context: RunContext) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation that the weights expect; () from scratch or where nothing is known."""
    if context.pretrained is False:
        return (), ()
    if context.weights_mean and context.weights_std:
        return context.weights_mean, context.weights_std
    if context.usual_mean and context.usual_std:
        return context.usual_mean, context.usual_std
    return (IMAGENET_MEAN, IMAGENET_STD) if context.pretrained else ((), ())


def _mismatch(actual: Ends, context: RunContext, mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[float, str]:
    """Return the distance of the inputs' ends from the expected ones, in range lengths, and the actual normalisation.

    The latter is "" where it cannot be inferred or nothing is wrong.
    """
    expected = normalised_ends(mean, std)
    accepted = [expected]
    if not context.weights_mean:
        accepted += [USUAL["in -1 to 1"], USUAL["normalised by ImageNet's figures"]]
    nearest = min(distance(actual, ends) for ends in accepted)
    if nearest <= FIT:
        return nearest, ""
    # A candidate close to what is accepted would fit correct inputs as well, so it proves nothing.
    distinct: Mapping[str, Ends] = {
        name: ends for name, ends in USUAL.items() if all(distance(ends, other) > FIT for other in accepted)
    }
    if fitting := [name for name, ends in distinct.items() if distance(actual, ends) <= FIT]:
        return nearest, fitting[0]
    low, high = actual
    length = np.ptp(expected, axis=0)
    outside = np.maximum(expected[0] - low, high - expected[1]) / length
    if (outside > _OUTSIDE).all():
        return nearest, "far outside the range of images"
    # Images without pure black or white do not reach the ends, but stay inside 0 to 1.
    inside = ((low >= -FIT) & (low <= 0.3) & (high >= 0.7) & (high <= 1 + FIT)).all()
    if inside and "in 0 to 1, not normalised" in distinct:
        return nearest, "in 0 to 1, not normalised"
    return nearest, ""


def _remedy(context: RunContext, mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, Any]:
    """Return the figures to use: a fix for three channels, advice for others and where they are in use already."""
    if context.used_mean and np.allclose(context.used_mean, mean, atol=1e-3):
        return {"advice": "Scale images to [0, 1] once, and normalise them once, before the model."}
    fix = {"mean": [round(float(value), 4) for value in mean], "std": [round(float(value), 4) for value in std]}
    if len(mean) == 1:  # grey images are given to the network as three equal channels
        fix = {name: values * 3 for name, values in fix.items()}
    if len(fix["mean"]) == 3:
        return {"fix": fix}
    return {"advice": f"Normalise by mean {_listed(mean)} and standard deviation {_listed(std)}."}


def _listed(values: Any) -> str:
    return ", ".join(f"{float(value):.3g}" for value in np.atleast_1d(values))
