"""Conditions on gradients and weights: VanishingGradient, WeightUpdateRatio, PoorWeightInitialization."""

from __future__ import annotations

import numpy as np
from pydantic import Field, PrivateAttr

from clearsight_sagemaker.rules.conditions.condition import Array, Condition, StepTensors, matches, words


class VanishingGradientCondition(Condition):
    """Met where the mean of the absolute values of a gradient is below `threshold`."""

    threshold: float = Field(1e-7, ge=0)

    def at_step(self, saved: StepTensors, step: int) -> str:
        names = [name for name in saved.names(step) if saved.in_collection(name, "gradients")]
        means = {name: saved.reduction(name, step, "mean", absolute=True) for name in names}
        self._points += bool(means)
        low = [name for name in means if means[name] < self.threshold]
        if not low:
            return ""
        least = min(low, key=lambda name: means[name])
        others = f" ({len(low)} of {len(means)} gradients)" if len(low) > 1 else ""
        return f"the mean of |{least}| is {means[least]:.3g}, below threshold={self.threshold:g}{others}"


class WeightUpdateRatioCondition(Condition):
    """Met where the mean of |new - old| / (|old| + epsilon) of a weight is above large_threshold or below
    small_threshold. Compared are saved training steps, num_steps apart or, without it, next to each other.
    """

    num_steps: int | None = Field(None, ge=1)
    large_threshold: float = Field(10.0, ge=0)
    small_threshold: float = Field(1e-8, ge=0)
    epsilon: float = Field(1e-9, gt=0)

    _old: dict[str, tuple[int, Array]] = PrivateAttr(default_factory=dict)

    def at_step(self, saved: StepTensors, step: int) -> str:
        mode, mode_step = saved.mode(step)
        if mode != "TRAIN":  # evaluation changes no weight
            return ""
        compared = False
        for name in saved.names(step):
            if not saved.in_collection(name, "weights"):
                continue
            value = saved.value(name, step).astype(np.float64)
            first, old = self._old.get(name, (mode_step, value))
            if name in self._old and mode_step - first < (self.num_steps or 1):
                continue
            self._old[name] = (mode_step, value)
            if first == mode_step or old.shape != value.shape:
                continue
            compared = True
            ratio = float(np.mean(np.abs(value - old) / (np.abs(old) + self.epsilon)))
            if ratio > self.large_threshold or ratio < self.small_threshold:
                self._points += 1
                is_large = ratio > self.large_threshold
                limit = (
                    f"above large_threshold={self.large_threshold:g}"
                    if is_large
                    else f"below small_threshold={self.small_threshold:g}"
                )
                return f"the update ratio of {name} from step {first} to step {mode_step} is {ratio:.3g}, {limit}"
        self._points += compared
        return ""


class PoorWeightInitializationCondition(Condition):
    """Met, in the first `steps` saved training steps, where the variances of the weights of layers, or of the inputs of
    activations, differ by more than the factor `threshold`; where a gradient lies within distribution_range, from its
    5th to its 95th percentile; or where the loss has not fallen for `patience` steps.
    """

    activation_inputs_regex: str = ".*relu_input"
    threshold: float = Field(10.0, gt=0)
    distribution_range: float = Field(0.001, ge=0)
    patience: int = Field(5, ge=1)
    steps: int = Field(10, ge=1)

    _best: float = PrivateAttr(float("inf"))
    _without: int = PrivateAttr(0)

    def at_step(self, saved: StepTensors, step: int) -> str:
        if saved.mode(step)[0] != "TRAIN" or self._points >= self.steps:
            return ""
        names = saved.names(step)
        weights = [name for name in names if saved.in_collection(name, "weights")]
        inputs = [name for name in names if matches(name, words(self.activation_inputs_regex))]
        gradients = [name for name in names if saved.in_collection(name, "gradients")]
        losses = [name for name in names if saved.in_collection(name, "losses")]
        self._points += bool(weights or inputs or gradients or losses)
        return (
            self._unequal(saved, step, weights)
            or self._unequal(saved, step, inputs)
            or self._narrow(saved, step, gradients)
            or self._flat([float(np.mean(saved.value(name, step))) for name in losses])
        )

    def _unequal(self, saved: StepTensors, step: int, names: list[str]) -> str:
        variances = {name: float(np.var(saved.value(name, step))) for name in names}
        variances = {name: variance for name, variance in variances.items() if variance > 0}
        if len(variances) < 2:
            return ""
        least, most = min(variances, key=lambda n: variances[n]), max(variances, key=lambda n: variances[n])
        factor = variances[most] / variances[least]
        if factor <= self.threshold:
            return ""
        return f"the variance of {most} is {factor:.3g} times that of {least}, above threshold={self.threshold:g}"

    def _narrow(self, saved: StepTensors, step: int, names: list[str]) -> str:
        for name in names:
            low, high = np.percentile(saved.value(name, step), [5, 95])
            if high - low < self.distribution_range:
                limit = f"below distribution_range={self.distribution_range:g}"
                return f"the 5th and 95th percentile of {name} are {high - low:.3g} apart, {limit}"
        return ""

    def _flat(self, losses: list[float]) -> str:
        if not losses:
            return ""
        loss = sum(losses) / len(losses)
        self._without = 0 if loss < self._best else self._without + 1
        self._best = min(loss, self._best)
        if self._without < self.patience:
            return ""
        return f"the loss has not fallen below {self._best:.4g} for patience={self.patience} saved steps"
