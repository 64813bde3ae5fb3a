"""Crew: what every kind of executor is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutorSpec:
    """How many work, where, and on what.

    slots: assignments at a time.  command: what starts a worker process.  bench: "module:attribute" of what carries an
    assignment out where no such process is: called with the post, it gives an object with
    `carry_out(assignment, talk) -> list[Outcome]`.  post: a worker's share of the machine, by its slot, as JSON values.
    logs: folder for what workers say.  address: of a cluster, "" for one that is started.  cpus, gpus: of each trial.
    """

    slots: int
    command: Sequence[str]
    bench: str
    post: Callable[[int], Mapping[str, Any]]
    logs: Path
    address: str = ""
    cpus: float | None = None
    gpus: float | None = None
