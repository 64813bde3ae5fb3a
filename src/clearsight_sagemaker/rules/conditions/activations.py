"""Conditions on activations: DeadRelu, SaturatedActivation. N images, C units (channels or neurons)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from clearsight_sagemaker.rules.conditions.condition import SelectedTensors, StepTensors, matches, units, words

Percent = Annotated[float, Field(ge=0, le=100)]


class DeadReluCondition(SelectedTensors):
    """Met where more than threshold_layer per cent of the units of a layer are active (above 0) for less than
    threshold_inactivity per cent of their outputs.
    """

    tensor_regex: str | None = ".*relu_output"
    threshold_inactivity: Percent = 1.0
    threshold_layer: Percent = 50.0

    def at_step(self, saved: StepTensors, step: int) -> str:
        has_data = False
        for name, value in self.selected(saved, step):
            has_data = True
            active = 100 * (units(value) > 0).mean(axis=1)  # (C,)
            dead = 100 * float((active < self.threshold_inactivity).mean())
            if dead > self.threshold_layer:
                self._points += 1
                return f"{dead:.3g} % of the units of {name} are dead, above threshold_layer={self.threshold_layer:g} %"
        self._points += has_data
        return ""


class SaturatedActivationCondition(SelectedTensors):
    """Met where more than threshold_layer per cent of the units of a layer are saturated: more than
    threshold_inactivity per cent of their inputs are outside the thresholds of tanh or of sigmoid.
    """

    tensor_regex: str | None = ".*tanh_input|.*sigmoid_input"
    threshold_tanh_min: float = -9.4999
    threshold_tanh_max: float = 9.4999
    threshold_sigmoid_min: float = -23.0
    threshold_sigmoid_max: float = 16.99999
    threshold_inactivity: Percent = 1.0
    threshold_layer: Percent = 50.0

    def selects(self, saved: StepTensors, name: str) -> bool:
        """Return True for an input of tanh or sigmoid, or a tensor of the named collections."""
        return matches(name, words(self.tensor_regex)) or any(
            saved.in_collection(name, collection) for collection in words(self.collection_names)
        )

    def at_step(self, saved: StepTensors, step: int) -> str:
        has_data = False
        for name, value in self.selected(saved, step):
            has_data = True
            is_tanh = "tanh" in name.lower()
            low = self.threshold_tanh_min if is_tanh else self.threshold_sigmoid_min
            high = self.threshold_tanh_max if is_tanh else self.threshold_sigmoid_max
            rows = units(value)
            outside = 100 * ((rows < low) | (rows > high)).mean(axis=1)  # (C,)
            saturated = 100 * float(np.mean(outside > self.threshold_inactivity))
            if saturated > self.threshold_layer:
                self._points += 1
                limit = f"above threshold_layer={self.threshold_layer:g} %"
                return f"{saturated:.3g} % of the units of {name} are saturated, {limit}"
        self._points += has_data
        return ""
