"""Conditions on any tensors: ExplodingTensor, AllZero, UnchangedTensor, TensorVariance, SimilarAcrossRuns,
and StalledTrainingRule, whose jobs save none any more.
"""

from __future__ import annotations

import json
from collections import deque

import numpy as np
from pydantic import Field, PrivateAttr

from clearsight_sagemaker.rules.conditions.condition import (
    Array,
    Condition,
    RequiredSelection,
    SelectedTensors,
    StepMode,
    StepTensors,
)

_EQUAL = 1e-6  # squared difference of two tensors, relative to the square of the first


class ExplodingTensorCondition(SelectedTensors):
    """Met where a tensor has an element that is NaN or, unless only_nan, infinite."""

    only_nan: bool = False

    def at_step(self, saved: StepTensors, step: int) -> str:
        has_data = False
        for name, value in self.selected(saved, step):
            has_data = True
            bad = np.isnan(value) if self.only_nan else ~np.isfinite(value)
            if bad.any():
                self._points += 1
                kind = "NaN" if np.isnan(value).any() else "infinite"
                return f"{int(bad.sum())} of {value.size} elements of {name} are {kind}"
        self._points += has_data
        return ""


class AllZeroCondition(RequiredSelection):
    """Met where at least `threshold` per cent of the elements of a tensor are 0."""

    threshold: float = Field(100.0, gt=0, le=100)

    def at_step(self, saved: StepTensors, step: int) -> str:
        has_data = False
        for name, value in self.selected(saved, step):
            has_data = True
            zeros = 100 * float(np.mean(value == 0))
            if zeros >= self.threshold:
                self._points += 1
                return f"{zeros:.3g} % of {name} is 0, at least threshold={self.threshold:g} %"
        self._points += has_data
        return ""


class UnchangedTensorCondition(RequiredSelection):
    """Met where a tensor is the same, as numpy.allclose compares, in num_steps saved steps of a mode in a row."""

    num_steps: int = Field(3, ge=2)
    rtol: float = Field(1e-5, ge=0)
    atol: float = Field(1e-8, ge=0)
    equal_nan: bool = False

    _recent: dict[tuple[str, StepMode], deque[Array]] = PrivateAttr(default_factory=dict)

    def at_step(self, saved: StepTensors, step: int) -> str:
        mode, mode_step = saved.mode(step)
        has_data = False
        for name, value in self.selected(saved, step):
            has_data = True
            recent = self._recent.setdefault((name, mode), deque(maxlen=self.num_steps))
            recent.append(value)
            if len(recent) == self.num_steps and all(self._equal(recent[0], other) for other in recent):
                self._points += 1
                return f"{name} has not changed in num_steps={self.num_steps} saved steps of {mode} up to {mode_step}"
        self._points += has_data
        return ""

    def _equal(self, first: Array, other: Array) -> bool:
        if first.shape != other.shape:
            return False
        return np.allclose(first, other, rtol=self.rtol, atol=self.atol, equal_nan=self.equal_nan)


class TensorVarianceCondition(RequiredSelection):
    """Met where the variance of a tensor is above max_threshold or below min_threshold."""

    max_threshold: float | None = None
    min_threshold: float | None = None

    def at_step(self, saved: StepTensors, step: int) -> str:
        has_data = False
        for name, value in self.selected(saved, step):
            has_data = True
            variance = float(np.var(value))
            if self.max_threshold is not None and variance > self.max_threshold:
                limit = f"above max_threshold={self.max_threshold:g}"
            elif self.min_threshold is not None and variance < self.min_threshold:
                limit = f"below min_threshold={self.min_threshold:g}"
            else:
                continue
            self._points += 1
            return f"the variance of {name} is {variance:.3g}, {limit}"
        self._points += has_data
        return ""


class SimilarAcrossRunsCondition(SelectedTensors):
    """Met where a tensor is nearly equal to that of another job at the same step: the sum of the squared differences is
    below a millionth of the sum of its squares. other_trials: address of the other job's debug-output.
    """

    other_trials: str

    _other: StepTensors | None = PrivateAttr(None)

    def at_step(self, saved: StepTensors, step: int) -> str:
        if self._other is None:
            self._other = saved.other(self.other_trials)
        has_data, names = False, set(self._other.names(step))
        for name, value in self.selected(saved, step):
            if name not in names:
                continue
            other = self._other.value(name, step)
            if other.shape != value.shape:
                continue
            has_data = True
            square = float(np.sum(np.square(value, dtype=np.float64)))
            difference = float(np.sum(np.square(value.astype(np.float64) - other)))
            if difference <= _EQUAL * square:
                self._points += 1
                return f"{name} is the same in {self.other_trials}: they differ by {difference:.3g} in squares"
        self._points += has_data
        return ""


class StalledTrainingCondition(Condition):
    """Met where no tensor was saved for `threshold` seconds.

    stop_training_on_fire: stop the one job whose name begins with training_job_name_prefix.
    """

    threshold: float = Field(1800.0, gt=0)
    stop_training_on_fire: bool = False
    training_job_name_prefix: str = ""

    def at_step(self, saved: StepTensors, step: int) -> str:
        self._points += 1
        return ""

    def when_idle(self, seconds: float) -> str:
        if seconds <= self.threshold:
            return ""
        return f"no tensor was saved for {seconds:.0f} s, longer than threshold={self.threshold:g}"

    @property
    def actions(self) -> str:
        """Return the actions that its parameters ask for, as JSON; "" for none."""
        if not self.stop_training_on_fire or not self.training_job_name_prefix:
            return ""
        return json.dumps({"name": "stoptraining", "training_job_prefix": self.training_job_name_prefix})
