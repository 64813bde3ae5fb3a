"""TrialReporter: a running trial's connection to its study; WorkerResources: a worker's share of the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from clearsight.workflow.paths import Paths


class TrialReporter(Protocol):
    """Connection of a trial to its study, over a pipe or a cluster."""

    def report_epoch(self, number: int, epoch: int, scores: Mapping[str, float]) -> str:
        """Report the scores of an epoch; returns why the trial must end, or "" to continue."""

    def interruption(self) -> str:
        """Return why all trials must stop now, resumable; "" to continue."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerResources:
    """A worker's caches, and its share of the machine.

    device: for recipes that do not name one.  threads: of torch, and the number of loader workers.
    """

    paths: Paths
    device: str = "auto"
    threads: int | None = None  # None leaves both to the recipe's defaults

    def to_json(self) -> dict[str, object]:
        """Return plain JSON values that `from_json` reads."""
        weights = [str(folder) for folder in self.paths.weights]  # JSON has no paths
        return {"cache": str(self.paths.cache), "weights": weights, "device": self.device, "threads": self.threads}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> WorkerResources:
        """Return the resources that `to_json` wrote."""
        weights, threads = values["weights"], values["threads"]
        assert isinstance(weights, list)
        assert threads is None or isinstance(threads, int)
        paths = Paths(cache=Path(str(values["cache"])), weights=tuple(Path(str(folder)) for folder in weights))
        return cls(paths=paths, device=str(values["device"]), threads=threads)
