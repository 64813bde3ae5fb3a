"""ParameterUpdates: parameters before an optimizer step, and what the step changed."""

from __future__ import annotations

import torch
from torch import Tensor

from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.snapshot_builder import SnapshotBuilder
from clearsight.debugger.capture.statistics import SAMPLE, flattened, thinned


class ParameterUpdates:
    """Adds the parameters of a model to a builder before an update, and the differences after it.

    sample: as of `summarize`; with it only the sampled elements are copied, so that a large model needs no second
    copy of its weights.
    """

    def __init__(self, model: InspectedModel, builder: SnapshotBuilder, sample: int | None) -> None:
        self._model, self._builder, self._sample = model, builder, sample
        self._copies: dict[str, Tensor] = {}

    @torch.no_grad()
    def before(self) -> None:
        """Add the parameters; call it right before the update."""
        # Before the update: these are the weights with which the step computed its loss.
        for name, parameter in self._model.parameters:
            self._builder.add("biases" if self._model.is_bias(name) else "weights", name, parameter)
        if self._builder.wants("updates"):
            self._copies = {name: self._copy(name, parameter) for name, parameter in self._model.trained}

    @torch.no_grad()
    def after(self) -> None:
        """Add the differences; call it right after the update."""
        for name, parameter in self._model.trained:
            before = self._copies.pop(name, None)
            if before is None:
                continue
            if before.shape == parameter.shape:
                # In place, on the copy that is no longer needed: no third copy of the weights.
                self._builder.add("updates", f"update/{name}", before.neg_().add_(parameter.detach()))
            elif self._builder.statistics:
                now = thinned(flattened(parameter.detach()), parameter.shape, self._sample or SAMPLE)
                self._builder.add_sample("updates", f"update/{name}", now - before, parameter.numel())

    def _copy(self, name: str, parameter: Tensor) -> Tensor:
        if self._sample is None or self._builder.saves_whole("updates", f"update/{name}"):
            return parameter.detach().clone()
        return thinned(flattened(parameter.detach()), parameter.shape, self._sample).clone()
