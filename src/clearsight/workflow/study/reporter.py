"""Talk: what a trial and its study say to each other while it trains, wherever the two of them are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from clearsight.workflow.paths import Paths


class TrialReporter(Protocol):
    """A trial's end of the line."""

    def epoch(self, number: int, epoch: int, scores: Mapping[str, float]) -> str:
        """Tell the scores of an epoch; returns why the trial is to end, or "" to go on."""
        ...

    def interrupted(self) -> str:
        """Why all trials are to be left as they are, resumable; "" to go on."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerResources:
    """Where a worker works: its caches, and its share of the machine.

    device: for recipes that leave it open.  threads: of torch, and readers too.
    """

    places: Paths
    device: str = "auto"
    threads: int | None = None

    def to_json(self) -> dict[str, object]:
        """Plain JSON values that `from_json` reads."""
        weights = [str(folder) for folder in self.places.weights]
        return {"cache": str(self.places.cache), "weights": weights, "device": self.device, "threads": self.threads}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> WorkerResources:
        """The post that `to_json` gave."""
        weights, threads = values["weights"], values["threads"]
        assert isinstance(weights, list)
        assert threads is None or isinstance(threads, int)
        places = Paths(cache=Path(str(values["cache"])), weights=tuple(Path(str(one)) for one in weights))
        return cls(places=places, device=str(values["device"]), threads=threads)
