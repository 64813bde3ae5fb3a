"""Conditions on losses: LossNotDecreasing, Overfit, Overtraining."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from pydantic import Field, PrivateAttr

from clearsight_sagemaker.rules.conditions.condition import (
    Condition,
    SelectedTensors,
    StepMode,
    StepTensors,
    matches,
    words,
)

_PREFERRED: tuple[StepMode, ...] = ("EVAL", "TRAIN", "PREDICT", "GLOBAL")


class LossNotDecreasingCondition(SelectedTensors):
    """Met where a loss fell by less than diff_percent over num_steps, or rose by more than increase_threshold_percent.

    A loss is compared with its newest value that is at least num_steps older, every num_steps. A rise within the
    threshold is not met. Without `mode` the losses of EVAL are judged where there are any, then those of TRAIN.
    """

    use_losses_collection: bool = True
    num_steps: int = Field(10, ge=1)
    diff_percent: float = Field(0.1, ge=0)
    increase_threshold_percent: float = Field(5.0, ge=0)
    mode: StepMode | None = None

    _series: dict[tuple[str, StepMode], list[tuple[int, float]]] = PrivateAttr(default_factory=dict)
    _checked: dict[tuple[str, StepMode], int] = PrivateAttr(default_factory=dict)
    _has_compared: bool = PrivateAttr(False)

    @property
    def unmet_need(self) -> str:
        """Return what it lacked: two losses of one mode that lie num_steps apart."""
        return "" if self._has_compared else f"no two losses of one mode that lie {self.num_steps} steps apart"

    def selects(self, saved: StepTensors, name: str) -> bool:
        """Return True for a loss."""
        if self.use_losses_collection and saved.in_collection(name, "losses"):
            return True
        return bool(self.collection_names or self.tensor_regex) and super().selects(saved, name)

    def at_step(self, saved: StepTensors, step: int) -> str:
        mode, mode_step = saved.mode(step)
        place = step if self.mode == "GLOBAL" else mode_step
        counted: StepMode = "GLOBAL" if self.mode == "GLOBAL" else mode
        if self.mode not in (None, counted):
            return ""
        has_loss = False
        for name, value in self.selected(saved, step, scalars=True):
            has_loss = True
            self._series.setdefault((name, counted), []).append((place, float(value.reshape(()))))
            if self.mode is None and self._preferred(name) != counted:
                continue
            if clause := self._compare(name, counted):
                self._points += 1
                return clause
        self._points += has_loss
        return ""

    def _preferred(self, name: str) -> StepMode:
        return next(mode for mode in _PREFERRED if (name, mode) in self._series)

    def _compare(self, name: str, mode: StepMode) -> str:
        series = self._series[name, mode]
        step, now = series[-1]
        if step - self._checked.setdefault((name, mode), series[0][0]) < self.num_steps:
            return ""
        earlier = [point for point in series if step - point[0] >= self.num_steps]
        if not earlier:
            return ""
        self._checked[name, mode], self._has_compared = step, True
        first, before = earlier[-1]
        drop = 100 * (before - now) / abs(before) if before else 0.0
        if 0 <= drop < self.diff_percent:
            change = f"fell by {drop:.3g} %, less than diff_percent={self.diff_percent:g}"
        elif -drop > self.increase_threshold_percent:
            change = f"rose by {-drop:.3g} %, more than increase_threshold_percent={self.increase_threshold_percent:g}"
        else:
            return ""
        return f"{name} {change}: {before:.4g} at {mode} step {first}, {now:.4g} at step {step}"


class LossSelection(Condition):
    """Base of conditions that compare the losses of training with those of evaluation."""

    tensor_regex: str | None = None

    def losses(self, saved: StepTensors, step: int) -> Iterable[float]:
        """Yield the finite losses of a step."""
        patterns = words(self.tensor_regex)
        for name in saved.names(step):
            is_loss = matches(name, patterns) if patterns else saved.in_collection(name, "losses")
            if is_loss and (value := saved.value(name, step)).size == 1 and math.isfinite(float(value.reshape(()))):
                yield float(value.reshape(()))


class OverfitCondition(LossSelection):
    """Met where (evaluation loss - training loss) / training loss is above ratio_threshold `patience` times.

    Compared are the mean of the losses of one evaluation, which is a run of EVAL steps, and the mean of those of the
    training steps before it. Evaluations that begin before start_step do not count.
    """

    start_step: int = Field(0, ge=0)
    patience: int = Field(1, ge=1)
    ratio_threshold: float = Field(0.1, ge=0)

    _train: list[float] = PrivateAttr(default_factory=list)
    _valid: list[float] = PrivateAttr(default_factory=list)
    _exceeded: int = PrivateAttr(0)
    _evaluation: int = PrivateAttr(0)  # first global step of the evaluation

    def at_step(self, saved: StepTensors, step: int) -> str:
        mode, _ = saved.mode(step)
        found = list(self.losses(saved, step))
        if mode == "EVAL" and found:
            if not self._valid:
                self._evaluation = step
            self._valid += found
        elif mode == "TRAIN":
            clause = self.at_end()
            self._train += found
            return clause
        return ""

    def at_end(self) -> str:
        if not self._valid or not self._train:
            self._valid = []
            return ""
        train, valid = sum(self._train) / len(self._train), sum(self._valid) / len(self._valid)
        self._train, self._valid = [], []
        if self._evaluation < self.start_step:
            return ""
        self._points += 1
        ratio = (valid - train) / train if train > 0 else 0.0
        self._exceeded = self._exceeded + 1 if ratio > self.ratio_threshold else 0
        if self._exceeded < self.patience:
            return ""
        times = f" in {self._exceeded} evaluations" if self._exceeded > 1 else ""
        return (
            f"the evaluation loss {valid:.4g} exceeds the training loss {train:.4g} by a ratio of {ratio:.3g},"
            f" above ratio_threshold={self.ratio_threshold:g}{times}"
        )


class OvertrainingCondition(LossSelection):
    """Met where the training loss has not improved by `delta` for patience_train saved steps, or the evaluation loss
    for patience_validation.
    """

    patience_train: int = Field(5, ge=1)
    patience_validation: int = Field(10, ge=1)
    delta: float = Field(0.01, ge=0)

    _best: dict[StepMode, float] = PrivateAttr(default_factory=dict)
    _without: dict[StepMode, int] = PrivateAttr(default_factory=lambda: defaultdict(int))

    def at_step(self, saved: StepTensors, step: int) -> str:
        mode, mode_step = saved.mode(step)
        found = list(self.losses(saved, step))
        if mode not in ("TRAIN", "EVAL") or not found:
            return ""
        self._points += 1
        loss = sum(found) / len(found)
        if loss < self._best.get(mode, math.inf) - self.delta:
            self._best[mode], self._without[mode] = loss, 0
            return ""
        self._without[mode] += 1
        name = "patience_train" if mode == "TRAIN" else "patience_validation"
        patience = self.patience_train if mode == "TRAIN" else self.patience_validation
        if self._without[mode] < patience:
            return ""
        return (
            f"the loss of {mode} has not fallen by delta={self.delta:g} below {self._best[mode]:.4g} for"
            f" {name}={patience} saved steps, up to step {mode_step}"
        )
