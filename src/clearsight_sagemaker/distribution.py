"""Distribution: many numbers told by a few."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True, slots=True)
class Distribution:
    """The smallest, the percentiles and the largest of some numbers."""

    max: float
    p99: float
    p95: float
    p75: float
    p50: float
    p25: float
    p5: float
    min: float

    @classmethod
    def of(cls, values: npt.ArrayLike) -> Distribution | None:
        """Of any numbers; None where there is not one finite among them."""
        known = np.asarray(values, np.float64)
        known = known[np.isfinite(known)]
        if not known.size:
            return None
        points = [100, 99, 95, 75, 50, 25, 5, 0]
        names = ("max", "p99", "p95", "p75", "p50", "p25", "p5", "min")
        return cls(**dict(zip(names, (plain(v) for v in np.percentile(known, points)), strict=True)))

    def to_json(self) -> dict[str, float]:
        """All of them by name."""
        return asdict(self)

    def summary(self) -> dict[str, float]:
        """Those that the report of a system lists: max, p99, p95, p50, min."""
        return {name: getattr(self, name) for name in ("max", "p99", "p95", "p50", "min")}


def plain(value: float) -> float:
    """A measured number as it is written: six digits of it."""
    return float(f"{float(value):.6g}")
