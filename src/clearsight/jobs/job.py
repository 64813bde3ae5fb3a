"""JobSpec: a process that outlives the command that starts it. JobState: what became of it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from clearsight.core.errors import BadValue

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


class JobStatus(StrEnum):
    """Status of a job. `starting` until it is healthy for the first time; `waiting` for its next restart."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """True where the supervisor does nothing more for the job."""
        return self in (JobStatus.STOPPED, JobStatus.COMPLETED, JobStatus.FAILED)


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthCheck:
    """An HTTP address that answers 200 while the job works.

    start_seconds: until the first 200.  every: seconds between checks.  failures: in a row that make it unhealthy.
    """

    url: str
    start_seconds: float = 120.0
    every: float = 5.0
    failures: int = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """Share of the machine. cores: numbers of the cores, () for all.  memory: bytes of address space, 0 for no limit.

    nice: from 0 to 19.
    """

    cores: tuple[int, ...] = ()
    memory: int = 0
    nice: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """A command and what is to happen to its process.

    name: 1 to 63 letters, digits and inner hyphens.  environment: the whole of it; nothing is inherited.
    restart: after which ends it is started again.  stop_seconds: between SIGTERM and SIGKILL.
    listen: host and port on which the supervisor listens for the job, so that no restart refuses a connection; the
    process takes the socket with `inherited_listener`, and listens itself where the supervisor could not.
    log_bytes: of the log file before it is rotated; three older ones are kept.
    A job that fails before it was healthy once is not started again: its command or its data are wrong.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    restart: Literal["always", "on-failure", "never"] = "never"
    health: HealthCheck | None = None
    listen: tuple[str, int] | None = None
    resources: Resources = Resources()
    stop_seconds: float = 30.0
    log_bytes: int = 10 << 20

    def __post_init__(self) -> None:
        check_name(self.name)
        if not self.command:
            raise BadValue(f"job {self.name}", "its command is empty")

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, from which `from_json` makes the same again."""
        return {**asdict(self), "folder": str(self.folder)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> JobSpec:
        """Return the job of `to_json`."""
        health, resources, listen = values["health"], dict(values["resources"]), values.get("listen")
        parts = {
            "command": tuple(values["command"]),
            "folder": Path(values["folder"]),
            "health": HealthCheck(**health) if health else None,
            "listen": (str(listen[0]), int(listen[1])) if listen else None,
            "resources": Resources(**{**resources, "cores": tuple(resources["cores"])}),
        }
        return cls(**{**values, **parts})


@dataclass(frozen=True, kw_only=True, slots=True)
class JobState:
    """State of a job. process: its `process_identity`, {} for none.  starts: of its process.

    token: in the environment of the process, by which it is found where its PID was not written down.
    generation: of the spec that it is the state of.  was_healthy: at any time.
    exit_code: of the last process, negative for a signal, None where it is not known.
    reason: a sentence about the last end, "" for none.  since: when the status began, in seconds of the epoch.
    """

    status: JobStatus = JobStatus.STARTING
    generation: int = 1
    process: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""
    starts: int = 0
    was_healthy: bool = False
    exit_code: int | None = None
    reason: str = ""
    since: float = field(default_factory=time.time)

    def changed(self, status: JobStatus | None = None, **values: Any) -> JobState:
        """Return the state with other values; a new status begins now."""
        if status is not None and status is not self.status:
            values = {"status": status, "since": time.time(), **values}
        return replace(self, **values)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, from which `from_json` makes the same again."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> JobState:
        """Return the state of `to_json`."""
        return cls(**{**values, "status": JobStatus(values["status"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job with its state. target: what the user asked for last.  generation: grows with every new spec."""

    spec: JobSpec
    state: JobState
    target: Literal["running", "stopped", "removed"] = "running"
    generation: int = 1


def check_name(name: str) -> str:
    """Return a name that jobs may have; raises BadValue for another."""
    if not _NAME.fullmatch(name):
        problem = "must be 1 to 63 letters, digits and hyphens, and begin and end with a letter or digit"
        raise BadValue(f"name {name!r}", problem)
    return name
