"""EndpointMetrics: numbers and times of invocations, added up in memory and written to the file of metrics."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

NAMESPACE = "AWS/SageMaker"
_RECENT_SECONDS = 60
_UNITS = {"ModelLatency": "Microseconds", "OverheadLatency": "Microseconds"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Invocation:
    """An invocation that has ended. instances: model servers of the variant.  status: of HTTP.

    model, overhead: seconds of the model and of everything else.
    """

    endpoint: str
    variant: str
    instances: int
    status: int
    model: float
    overhead: float


@dataclass(slots=True)
class _Sum:
    count: int = 0
    total: float = 0.0
    low: float = float("inf")
    high: float = float("-inf")

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.low, self.high = min(self.low, value), max(self.high, value)


@dataclass(slots=True)
class EndpointMetrics:
    """Metrics of endpoints; for many threads. file: of metrics, which `file_lock` is held for."""

    file: Path
    file_lock: threading.Lock
    _sums: dict[tuple[str, str, str], _Sum] = field(default_factory=dict)
    _recent: dict[tuple[str, str], deque[float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, invocation: Invocation) -> None:
        """Add an invocation."""
        status = invocation.status
        values = {
            "Invocations": 1.0,
            "InvocationsPerInstance": 1.0 / max(1, invocation.instances),
            "Invocation4XXErrors": float(400 <= status < 500),
            "Invocation5XXErrors": float(status >= 500),
            "ModelLatency": 1e6 * invocation.model,
            "OverheadLatency": 1e6 * invocation.overhead,
        }
        key = (invocation.endpoint, invocation.variant)
        with self._lock:
            for name, value in values.items():
                self._sums.setdefault((*key, name), _Sum()).add(value)
            self._recent.setdefault(key, deque()).append(time.monotonic())
            self._forget_old(key)

    def per_minute(self, endpoint: str, variant: str) -> int:
        """Return the invocations of the last minute."""
        with self._lock:
            self._forget_old((endpoint, variant))
            return len(self._recent.get((endpoint, variant), ()))

    def flush(self) -> None:
        """Write what was added since the last time. Raises OSError; the numbers are written the next time then."""
        with self.file_lock:
            with self._lock:
                sums, self._sums = self._sums, {}
            if not sums:
                return
            now = time.time()
            try:
                with self.file.open("a", encoding="utf-8") as file:
                    file.write("".join(_line(now, *key, value) for key, value in sums.items()))
            except OSError:
                with self._lock:
                    self._sums = {**sums, **self._sums}
                raise

    def _forget_old(self, key: tuple[str, str]) -> None:
        times, end = self._recent.get(key), time.monotonic() - _RECENT_SECONDS
        while times and times[0] < end:
            times.popleft()


def _line(now: float, endpoint: str, variant: str, name: str, value: _Sum) -> str:
    row = {
        "namespace": NAMESPACE,
        "name": name,
        "unit": _UNITS.get(name, "None"),
        "dimensions": {"EndpointName": endpoint, "VariantName": variant},
        "time": now,
        "count": value.count,
        "total": value.total,
        "low": value.low,
        "high": value.high,
    }
    return json.dumps(row) + "\n"
