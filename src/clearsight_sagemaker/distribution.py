"""Distribution: percentiles of many numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True, slots=True)
class Distribution:
    """Minimum, percentiles and maximum of some numbers."""

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
        """Compute them for any numbers; None if there is no finite one."""
        known = np.asarray(values, np.float64)
        known = known[np.isfinite(known)]
        if not known.size:
            return None
        points = [100, 99, 95, 75, 50, 25, 5, 0]  # in SageMaker's order, the largest first
        names = ("max", "p99", "p95", "p75", "p50", "p25", "p5", "min")
        return cls(**dict(zip(names, (round_digits(v) for v in np.percentile(known, points)), strict=True)))

    def to_json(self) -> dict[str, float]:
        """Return all of them by name."""
        return asdict(self)

    def summary(self) -> dict[str, float]:
        """Return those that the system report lists: max, p99, p95, p50, min."""
        return {name: getattr(self, name) for name in ("max", "p99", "p95", "p50", "min")}


def round_digits(value: float) -> float:
    """Round a measured number to the six digits that are written."""
    return float(f"{float(value):.6g}")
