"""RemotePlace: what a package beside clearsight implements so that `--on NAME` trains, tunes and deploys elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from clearsight.core.recipe import Recipe
from clearsight.core.registry import Registry
from clearsight.core.study import StudyPlan

Report: TypeAlias = Callable[[str], None]  # receives lines for people


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteTraining:
    """A training to submit. data: a path of this machine, or an address that the place knows.

    options: of the place, as NAME=VALUE of --remote.  out: new run folder for the result.
    """

    data: str
    recipe: Recipe
    out: Path
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteTuning:
    """A search to submit: a recipe, and the plan of a study with its space. out: new run folder for the best trial."""

    data: str
    recipe: Recipe
    plan: StudyPlan
    out: Path
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteDeployment:
    """A model to serve. model: run or bundle.  name: of the endpoint."""

    model: Path
    name: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteResult:
    """Outcome of a submission.

    values: for --json.  lines: for people, about the end and the next commands.  run: folder of the run that was
    fetched, None where there is none.  exit_code: 0 for success, 1 for a job that failed, 130 where Ctrl-C left it
    running.
    """

    values: Mapping[str, Any]
    lines: Sequence[str] = ()
    run: Path | None = None
    exit_code: int = 0


class RemotePlace(Protocol):
    """A place that takes submissions. Every method raises ClearsightError with one sentence before anything costs.

    A KeyboardInterrupt while a job is followed leaves the job running: the result says how to end it.
    """

    def train(self, training: RemoteTraining, report: Report) -> RemoteResult: ...
    def tune(self, tuning: RemoteTuning, report: Report) -> RemoteResult: ...
    def deploy(self, deployment: RemoteDeployment, report: Report) -> RemoteResult: ...


# Members come from other packages alone: clearsight itself trains on this machine.
REMOTES: Registry[RemotePlace] = Registry("place", {}, group="clearsight.remotes")
