"""Images whose values have more than 8 bits: from stored values to bytes by a range of values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.dataset import Pixels
from clearsight.core.preprocess import ValueRange

_ROWS = 1 << 20  # values that are scaled at a time: they are float64 meanwhile
# Usual ranges, from the narrowest: floats, then 8, 10, 12, 14 and 16 bits.
USUAL_TOPS = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
_TOPS_OF_ONE = (1.0, 255.0, 65535.0)  # of an image whose dataset is not known


@dataclass(frozen=True, slots=True)
class WideImage:
    """Values of an image. values: (H, W, C) of C 1 or 3.  alpha: (H, W) in [0, 1].  full: top of the type, if known."""

    values: npt.NDArray[Any]
    full: float | None
    alpha: npt.NDArray[np.float32] | None = None

    @classmethod
    def of(cls, values: npt.NDArray[Any], full: float | None) -> WideImage:
        """Return the image of (H, W) or (H, W, C) values, C of 1, 3 or 4."""
        if values.ndim == 2:
            values = values[:, :, None]
        if values.shape[2] != 4:
            return cls(values, full)
        alpha = np.clip(values[:, :, 3].astype(np.float32) / (full or 1.0), 0, 1)
        return cls(values[:, :, :3], full, alpha)

    @property
    def depth(self) -> str:
        """Return the name of the values' type; "uint16" for 16-bit values that a library holds in a wider one."""
        return "uint16" if self.full == USUAL_TOPS[-1] else self.values.dtype.name

    def turned(self, turn: Callable[[Any], Any]) -> WideImage:
        """Return the image after a turn of its first two axes."""
        alpha = None if self.alpha is None else turn(self.alpha[:, :, None])[:, :, 0]
        return WideImage(turn(self.values), self.full, alpha)

    def extent(self) -> ValueRange:
        """Return the smallest and the largest finite value; ValueError when there is none."""
        low, high = np.inf, -np.inf
        for part in self._portions():
            finite = part[np.isfinite(part)] if part.dtype.kind == "f" else part
            if finite.size:
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        if low > high:
            raise ValueError("no value in it is a number")
        return low, high

    def _portions(self) -> Iterator[npt.NDArray[Any]]:
        """Yield bands of rows that are converted at a time."""
        rows = max(_ROWS // (self.values.shape[1] * self.values.shape[2]), 1)
        yield from (self.values[start : start + rows] for start in range(0, len(self.values), rows))

    def pixels(self, value_range: ValueRange | None) -> Pixels:
        """Return (H, W, 3) uint8: values of the range as 0 to 255, those outside clipped; see `decode` for None."""
        low, high = value_range or ((0.0, self.full) if self.full else usual_range(*self.extent(), _TOPS_OF_ONE))
        found = np.empty((*self.values.shape[:2], 3), np.uint8)
        factor, start = 255.0 / (high - low) if high > low else 0.0, 0
        for part in self._portions():
            rows = slice(start, start + len(part))
            finite = np.nan_to_num(part.astype(np.float64), nan=low, posinf=high, neginf=low)
            scaled = ((finite - low) * factor).clip(0, 255)
            if self.alpha is not None:  # laid on white
                share = self.alpha[rows, :, None]
                scaled = scaled * share + 255.0 * (1 - share)
            found[rows] = np.rint(scaled)
            start = rows.stop
        return found


def full_scale(dtype: np.dtype[Any]) -> float | None:
    """Return the value that stands for white in a type, None where that depends on the image."""
    return 65535.0 if dtype == np.uint16 else None


def usual_range(low: float, high: float, tops: tuple[float, ...] = USUAL_TOPS) -> ValueRange:
    """Return the narrowest usual range from 0 that holds the values, else their own."""
    # A fixed range where one fits: scaling each image by its own extremes would hide differences in brightness.
    return next(((0.0, top) for top in tops if low >= 0 and high <= top), (low, high))
