"""NormalisationMismatch: images are normalised otherwise than the weights expect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.preprocess import IMAGENET_MEAN, IMAGENET_STD
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, RunView

_FIT = 0.05  # of the range: how closely its ends must fit
_BEYOND = 1.0  # range lengths outside of what the weights expect: no image, and no noise put on one
_RAW, _RAW_STD = 20.0, 10.0  # values and spread that only pixels from 0 to 255 have
_MILD = (0.15, 0.3)  # shift and change of scale up to which it costs little

Ends = tuple[Floats64, Floats64]  # (C,) values of black and of white


class NormalisationMismatch(Rule):
    """Found when images are normalised otherwise than the pretrained weights expect, or not at all.

    Where both are known the figures are compared: a mean off by more than `max_shift` of the pixel range, or a standard
    deviation by more than `max_scale` of itself; small differences are an information. Where not, the normalisation
    is read off the inputs: over many images black and white occur, and tell where they were put. All channels must
    agree on another place than the expected one, for example 0 to 1. Images without dark or without bright
    pixels agree on nothing, and then nothing is said. Weights of unknown origin that are pretrained are taken for
    ImageNet's, or for those that expect -1 to 1. Pixels from 0 to 255 are found for weights from scratch too.
    """

    explains = (
        *("CheckInputImages", "HeadNotLearning", "LossNotDecreasing", "UnderfitCapacity", "LearningRateTooHigh"),
        *("ExplodingTensor", "EarlyNaN", "DeadRelu", "SaturatedActivation", "LossOscillating", "Confusion"),
        *("PoorWeightInitialization", "BatchNormDrift"),
    )

    max_shift: float = setting(0.05, "difference of the means", above=0, unit="of the pixel range")
    max_scale: float = setting(0.1, "relative difference of the standard deviations", above=0)
    batches: int = setting(3, "saved batches that are needed", low=1)
    images: int = setting(32, "images that are needed", low=1)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.batches)

    def check(self, view: RunView) -> Iterator[Finding]:
        facts = view.facts
        mean, std = _expected(facts)
        saved = [] if facts.cached else [(at, value) for at, value in view.raw("input_channels") if _sound(value)]
        if mean and facts.used_mean and facts.used_std:
            told = self._told(view, mean, std)
            if told.found or not saved:
                yield told
                return
        if len(saved) < self.batches:
            cause = "the model under watch is given features, no images" if facts.cached else ""
            yield self.not_enough_data(have=len(saved), of="batches with saved channels", cause=cause)
            return
        steps = [at.step for at, _ in saved]
        answered = int(np.count_nonzero(np.isin(view.outcomes().steps, steps)))
        images = answered or len(steps) * max(facts.batch_size, 1)
        if images < self.images:
            yield self.not_enough_data(have=images, want=self.images, of="images")
            return
        yield self._measured(facts, steps, np.array([value for _, value in saved], float), mean, std)

    def _told(self, view: RunView, mean: tuple[float, ...], std: tuple[float, ...]) -> Finding:
        """By the figures of the recipe and of the weights."""
        used_mean, used_std = np.asarray(view.facts.used_mean), np.asarray(view.facts.used_std)
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
            cause=(
                f"images are normalised by mean {_words(used_mean)} and standard deviation {_words(used_std)}, the "
                f"weights expect {_words(mean)} and {_words(std)}"
            ),
            confidence=0.95,
            evidence=Series.of("mean by channel", np.arange(len(used_mean)), used_mean),
            **_repair(view.facts, mean, std),
        )

    def _measured(
        self, facts: RunContext, steps: list[int], figures: Floats64, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> Finding:
        """By what was put in. figures: (S, C, 4)."""
        low, high = figures[:, :, 2].min(axis=0), figures[:, :, 3].max(axis=0)
        raw = bool((high > _RAW).all() and np.median(figures[:, :, 1]) > _RAW_STD)
        if not mean and not raw:
            return self.clear(value=float(np.abs([low, high]).max()), threshold=_RAW, unit="largest input")
        off, how = (1.0, "as pixels from 0 to 255") if raw else _mismatch((low, high), facts, mean, std)
        if not how:
            return self.clear(value=off, threshold=_FIT, unit="of the range")
        if not mean:  # from scratch: by the figures of the images themselves
            mean, std = (tuple(np.median(figures[:, :, column], axis=0) / 255) for column in (0, 1))
            want = "a network learns best from values around 0"
        else:
            want = f"the weights expect mean {_words(mean)} and standard deviation {_words(std)} in [0, 1]"
        return self.found(
            value=off if not raw else float(high.max()),
            threshold=_FIT if not raw else _RAW,
            unit="of the range" if not raw else "largest input",
            steps=(steps[0], steps[-1]),
            subject="inputs",
            cause=f"images come {how} (channels from {_words(low)} to {_words(high)}); {want}",
            confidence=0.95 if raw else 0.8,
            evidence=tuple(
                Series.of(f"{name} of the first channel", steps, figures[:, 0, column])
                for column, name in enumerate(("mean", "standard deviation", "smallest value", "largest value"))
            ),
            **_repair(facts, mean, std),
        )


def _expected(facts: RunContext) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What the weights expect; () for weights from scratch or where nothing is known."""
    if facts.pretrained is False:
        return (), ()
    if facts.weights_mean and facts.weights_std:
        return facts.weights_mean, facts.weights_std
    return (IMAGENET_MEAN, IMAGENET_STD) if facts.pretrained else ((), ())


def _sound(value: Any) -> bool:
    return bool(np.isfinite(value).all())


def _mismatch(seen: Ends, facts: RunContext, mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[float, str]:
    """How far the ends of the inputs are from what is expected, in range lengths, and what they were normalised by
    instead; "" where that cannot be told or nothing is wrong."""
    known = {"as pixels from 0 to 255": _flat(0, 255), "in 0 to 1, not normalised": _flat(0, 1)}
    known |= {"in -1 to 1": _flat(-1, 1), "normalised by ImageNet's figures": _ends(IMAGENET_MEAN, IMAGENET_STD)}
    expected = _ends(mean, std)
    fine = [expected] if facts.weights_mean else [expected, _flat(-1, 1)]
    off = min(_distance(seen, ends) for ends in fine)
    if off <= _FIT:
        return off, ""
    elsewhere: Mapping[str, Ends] = {
        how: ends for how, ends in known.items() if all(_distance(ends, other) > _FIT for other in fine)
    }
    for how, ends in elsewhere.items():
        if _distance(seen, ends) <= _FIT:
            return off, how
    low, high = seen
    length = np.ptp(expected, axis=0)
    beyond = np.maximum(expected[0] - low, high - expected[1]) / length
    if (beyond > _BEYOND).all():
        return off, "far outside of what images can be"
    inside = ((low >= -_FIT) & (low <= 0.3) & (high >= 0.7) & (high <= 1 + _FIT)).all()
    if inside and "in 0 to 1, not normalised" in elsewhere:
        return off, "in 0 to 1, not normalised"
    return off, ""


def _flat(low: float, high: float) -> Ends:
    return np.array([low], float), np.array([high], float)


def _ends(mean: tuple[float, ...], std: tuple[float, ...]) -> Ends:
    """Where black and white come to lie."""
    centre, scale = np.asarray(mean, float), np.maximum(np.asarray(std, float), 1e-12)
    return -centre / scale, (1 - centre) / scale


def _distance(seen: Ends, ends: Ends) -> float:
    """The largest difference of the ends over the channels, in range lengths."""
    length = np.maximum(ends[1] - ends[0], 1e-12)
    return float(np.maximum(np.abs(seen[0] - ends[0]), np.abs(seen[1] - ends[1])).max() / length.min())


def _repair(facts: RunContext, mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, Any]:
    """The figures to use: a fix for three channels, advice for others and where they are said to be used already."""
    if facts.used_mean and np.allclose(facts.used_mean, mean, atol=1e-3):
        return {"advice": "Scale images to [0, 1] once, and normalise them once, before the model."}
    figures = {"mean": [round(float(value), 4) for value in mean], "std": [round(float(value), 4) for value in std]}
    if len(mean) == 1:
        figures = {name: values * 3 for name, values in figures.items()}
    if len(figures["mean"]) == 3:
        return {"fix": figures}
    return {"advice": f"Normalise by mean {_words(mean)} and standard deviation {_words(std)}."}


def _words(values: Any) -> str:
    return ", ".join(f"{float(value):.3g}" for value in np.atleast_1d(values))
