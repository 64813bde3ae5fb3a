"""Changes: parameters before and after an update."""

from __future__ import annotations

import torch
from torch import Tensor

from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.snapshot_builder import SnapshotBuilder
from clearsight.debugger.capture.statistics import SAMPLE, flattened, thinned


class ParameterUpdates:
    """Shows a take the parameters of a model as they are before an update, and then what the update made of them.

    sample: as in `summarize`; with it only the sampled elements are copied.
    """

    def __init__(self, watched: InspectedModel, take: SnapshotBuilder, sample: int | None) -> None:
        self._watched, self._take, self._sample = watched, take, sample
        self._copies: dict[str, Tensor] = {}

    @torch.no_grad()
    def before(self) -> None:
        """The update comes next."""
        for name, parameter in self._watched.parameters:
            self._take.see("biases" if self._watched.is_bias(name) else "weights", name, parameter)
        if self._take.wants("updates"):
            self._copies = {name: self._copy(name, parameter) for name, parameter in self._watched.trained}

    @torch.no_grad()
    def after(self) -> None:
        """The update is made."""
        for name, parameter in self._watched.trained:
            before = self._copies.pop(name, None)
            if before is None:
                continue
            if before.shape == parameter.shape:
                self._take.see("updates", f"update/{name}", before.neg_().add_(parameter.detach()))
            elif self._take.statistics:
                now = thinned(flattened(parameter.detach()), parameter.shape, self._sample or SAMPLE)
                self._take.see_sample("updates", f"update/{name}", now - before, parameter.numel())

    def _copy(self, name: str, parameter: Tensor) -> Tensor:
        if self._sample is None or self._take.keeps("updates", f"update/{name}"):
            return parameter.detach().clone()
        return thinned(flattened(parameter.detach()), parameter.shape, self._sample).clone()
