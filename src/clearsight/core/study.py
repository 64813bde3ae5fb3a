"""Study: the plan of a search, the folder that it is saved in, and the protocols of searchers and observers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import FiniteFloat, InstanceOf

from clearsight.core.errors import BadChoice, BadValue, StudyUnavailable
from clearsight.core.files import write_json
from clearsight.core.folder_lock import folder_lock
from clearsight.core.machine import process_ended, process_identity
from clearsight.core.recipe import Recipe
from clearsight.core.records import Shape, damaged, has_shape, read_record
from clearsight.core.run import KILLED, Resumable
from clearsight.core.secrets import redact_command, without_secrets
from clearsight.core.settings import Seconds, Section, setting
from clearsight.core.space import Params, Space
from clearsight.core.stop import stop_kind
from clearsight.core.trial import Objective, Trial


class StudyPlan(Section):
    """Everything that was asked of a study. A declared field is a flag of `clearsight tune` and a keyword of `tune`."""

    # Not declared with `setting`: DATA, --space and --metric have a notation of their own, and --seed is the recipe's.
    data: str
    space: InstanceOf[Space]
    objectives: tuple[InstanceOf[Objective], ...]
    seed: int = 0

    trials: int = setting(20, "number of trials [default: 20, or every combination of a grid]", low=1)
    parallel: int = setting(1, "trials at the same time", low=1)
    time_limit: Seconds | None = setting(
        None, "end the study after this time: seconds, or 90s, 10m, 2h", above=0, unit="s"
    )
    searcher: str = setting(
        "tpe", "search method: tpe, gp, random, grid, qmc, cmaes, nsga2, asha or hyperband", flag="--search"
    )
    pruner: str = setting(
        "auto",
        "method that ends weak trials early: median, asha, hyperband or none [default: the one that suits the search]",
        flag="--prune",
    )
    target: float | None = setting(None, "end the study when the first metric reaches this value")
    stop_after: int | None = setting(
        None, "end the study after this many trials in a row without an improvement", low=1
    )
    epoch_budget: int | None = setting(
        None, "end the study after this many epochs in all; epochs that pruning saves are not counted", low=1
    )
    # TPE draws its first 10 trials at random before it models anything, so ten heads can always begin together.
    stack: int = setting(10, "heads that train together in one process, at most", low=1)
    keep: int = setting(1, "best trials whose weights stay on disk", low=1)
    warm_start: tuple[str, ...] = setting(
        (), "begin with the trials of an earlier study: its folder, last, or URL#NAME; may be repeated"
    )
    storage: str = setting(
        "", "URL of an Optuna storage that several machines may share; its password is never written"
    )
    on: str = setting("local", "place of the trials: local, ray or ray://HOST:PORT, or one such as sagemaker")
    cpus_per_trial: float | None = setting(None, "cores of each trial on a cluster", above=0)
    gpus_per_trial: float | None = setting(None, "GPUs of each trial on a cluster", low=0)

    # A study that is continued keeps these; all other settings may change. The storage is kept too, but must be given
    # again if it needs a password.
    FIXED: ClassVar[tuple[str, ...]] = ("searcher", "warm_start")

    def replace(self, **changes: Any) -> StudyPlan:
        """Return a copy with some fields changed; raises BadValue for a value outside its range."""
        return self.parse({**dict(self), **changes})  # model_copy would not check the changes

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values that `from_json` reads; passwords and tokens in URLs are left out."""
        values = {**dict(self), "space": self.space.to_json()}
        values |= {"storage": without_secrets(self.storage), "on": without_secrets(self.on)}
        values["warm_start"] = [without_secrets(source) for source in self.warm_start]
        return {**values, "objectives": [asdict(objective) for objective in self.objectives]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], source: str = "study") -> StudyPlan:
        """Return the plan that `to_json` wrote; raises an error on the first value of another form."""
        objectives = tuple(read_record(Objective, objective, source) for objective in values["objectives"])
        if not objectives:
            raise damaged(source, "plan.objectives: it is empty")
        return cls.parse({**values, "space": Space.from_json(values["space"], source), "objectives": objectives})


class BestFacts(Shape):
    """The best trial, in study.json. run: its folder."""

    trial: int
    value: float
    values: tuple[float, ...] = ()
    params: Params
    run: str
    ties: dict[str, int | float | str | None] | None = None


class StudyStatus(StrEnum):
    """State of a study. `completed` and `stopped_early` are final, but either can be continued with more trials."""

    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED_EARLY = "stopped_early"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(kw_only=True, repr=False)
class Study(Resumable[StudyStatus]):
    """A study folder; recipe.yaml is what it varies.

    study.json  recipe.yaml  study.db  log.txt
    trials/0007/  trial.json (its settings), outcome.json (its result), and the files of its training
    best.yaml  report.html
    """

    noun = "study"

    plan: StudyPlan
    status: StudyStatus = StudyStatus.RUNNING
    started: FiniteFloat = field(default_factory=time.time)  # seconds since 1970
    seconds: FiniteFloat = 0.0  # of work, over all times that it was continued
    best: Annotated[dict[str, Any], has_shape(BestFacts)] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)  # without secrets
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    process: dict[str, Any] = field(default_factory=dict)  # process_identity of the process that leads it

    def __post_init__(self) -> None:
        self.command = redact_command(self.command)

    @classmethod
    def begin(cls, path: Path, plan: StudyPlan, recipe: Recipe, *, name: str = "", **facts: Any) -> Study:
        """Start a study in the new or empty folder `path`; raises NotResumable if a study is there already.

        name: in a shared storage; the folder's without one.  facts: command, versions, hardware.
        """
        cls.check_free(path)
        (path / "trials").mkdir(parents=True, exist_ok=True)
        study = cls(path=path, name=name or path.name, plan=plan, recipe=recipe, process=process_identity(), **facts)
        with study.lock():
            cls.check_free(path)  # again: of two that start at the same moment one comes first
            recipe.write(path / "recipe.yaml")
            study.save()  # last, since a folder with study.json counts as a study
        return study

    def lock(self) -> AbstractContextManager[None]:
        """Return the lock of the folder; entering it raises StudyUnavailable if another process holds it."""
        return folder_lock(self.path / "study.lock", self.noun, StudyUnavailable)

    @classmethod
    def open(cls, path: Path) -> Study:
        """Return the study in the folder `path`; raises NotFound if there is none, BadData if study.json is damaged.

        A study that says "running" but whose process is over was killed: it is returned as interrupted.
        """
        values, source = cls.read_state(path), str(path / "study.json")
        values["recipe"] = Recipe.load(path / "recipe.yaml")
        try:
            values["plan"] = StudyPlan.from_json(values["plan"], source)
        except (AttributeError, KeyError, TypeError, ValueError, BadValue, BadChoice) as error:
            raise damaged(source, f"plan: {error}") from None
        values["stop_kind"] = stop_kind(values.get("stop_kind"))
        study = read_record(cls, {**values, "path": path}, source, closed=True)
        if study.status is StudyStatus.RUNNING and process_ended(study.process):
            study.end(StudyStatus.INTERRUPTED, KILLED)
        return study

    def save(self) -> None:
        values = {key: value for key, value in self.__dict__.items() if key not in ("path", "recipe", "plan")}
        write_json(self.path / "study.json", {**values, "plan": self.plan.to_json()})

    def folder(self, number: int) -> Path:
        return self.path / "trials" / f"{number:04d}"  # four digits, so that file managers sort up to 10,000 trials

    @property
    def objective(self) -> Objective:
        """The first objective, which decides which trial is best."""
        return self.plan.objectives[0]


class Searcher(Protocol):
    """Search method: makes an Optuna sampler for each trial.

    A sampler proposes one trial and is discarded, so that a study that was killed proposes the same trials again: the
    proposal must follow from (seed, number) and the trials so far.
    """

    pruner: str  # name of the pruner that suits it, for a plan that names none

    def sampler(self, space: Space, seed: int, number: int) -> Any:
        """Return the optuna.samplers.BaseSampler that proposes trial `number`."""

    def size(self, space: Space) -> int | None:
        """Return the number of different trials; None if it is unlimited."""


class StudyObserver(Protocol):
    """Receives every event of a study, in order, on the thread that runs the study."""

    def on_begin(self, study: Study, trials: Sequence[Trial]) -> None:
        """The study starts, or continues with these earlier trials."""

    def on_trial(self, trial: Trial) -> None:
        """A worker has started a trial."""

    def on_epoch(self, trial: Trial, epoch: int, value: float) -> None:
        """A trial has finished an epoch. value: of the first objective, NaN if the epoch has none."""

    def on_result(self, trial: Trial) -> None:
        """A trial has ended: complete, pruned or failed."""

    def on_trouble(self, sentence: str) -> None:
        """Something went wrong that does not end the study, such as the death of a worker."""

    def on_end(self, status: StudyStatus, reason: str) -> None:
        """The study has ended."""
