"""Source: something of the machine that can be read twice a second at next to no cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class GaugeSource(Protocol):
    """A group of gauges that are read together. Making one raises where this machine does not have it."""

    def read(self) -> Mapping[str, float]:
        """Gauges by name, as `core.profile.Gauge` lists them; what cannot be told now is absent."""
        ...

    def close(self) -> None:
        """Let go of what it holds; it is not read again."""
        ...
