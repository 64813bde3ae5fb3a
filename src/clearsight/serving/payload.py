"""Payload of a request, and the response to it.

S is the side of the model's input in pixels, C the number of classes, N the images of one request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clearsight.core.dataset import Pixels

# The model's input: (3, S, S) float32, cropped and normalised; or (S, S, 3) uint8, cropped, for a network that
# normalises pixels itself.
Prepared: TypeAlias = npt.NDArray[Any]
Image: TypeAlias = bytes | Pixels | Prepared  # an encoded file, decoded RGB (H, W, 3), or the model's own input
Probabilities: TypeAlias = npt.NDArray[np.float64]  # (N, C), rows sum to 1


@dataclass(frozen=True, slots=True)
class Payload:
    """Images of one request. `batch`: the client sent a list and gets a list back, even of one."""

    images: Sequence[Image]
    batch: bool = False

    @property
    def pictures(self) -> Sequence[Image]:
        """Return the images; code/inference.py of earlier bundles uses this name."""
        return self.images


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictionResponse:
    """Probabilities (N, C) with the classes of their columns; `top`: classes listed in a ranking."""

    classes: tuple[str, ...]
    probabilities: Probabilities
    batch: bool = False
    top: int = 5

    def records(self) -> list[dict[str, Any]]:
        """Return one `record` per image, in the order of the request."""
        return [record(row, self.classes, self.top) for row in self.probabilities]


Answer = PredictionResponse  # the name that code/inference.py of earlier bundles imports


def record(row: Probabilities, classes: Sequence[str], top: int) -> dict[str, Any]:
    """Return {"label", "probability", "probabilities": {class: p}, "top": [{"label", "probability"}]} of a row (C,).

    Equal probabilities are ranked in the order of the classes.
    """
    ranking = np.argsort(-row, kind="stable")[:top]
    ranked = [{"label": classes[index], "probability": float(row[index])} for index in ranking]
    return {**ranked[0], "probabilities": dict(zip(classes, row.tolist(), strict=True)), "top": ranked}
