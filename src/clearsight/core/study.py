"""A study: what is searched and how, the folder it lives in, and what proposes the next point."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from clearsight.core.errors import BadData, NotFound, NotResumable
from clearsight.core.files import read_json, write_json, write_text
from clearsight.core.recipe import Recipe
from clearsight.core.space import Space
from clearsight.core.trial import Objective, Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPlan:
    """All that was asked of a study.

    trials: how many in all.  parallel: workers at a time.  stack: heads that are trained together at most.
    time_limit: seconds of the whole study.  epoch_budget: epochs of training over all trials; what pruning spares is
    not charged.  target: end when the first objective reaches it.  stop_after: end when so many trials in a row
    brought nothing better.  storage: an Optuna URL, or "" for the study's own SQLite file.  warm_start: earlier
    studies.  keep: of so many best trials the weights stay on disk.
    """

    data: str
    space: Space
    objectives: tuple[Objective, ...]
    trials: int
    parallel: int = 1
    stack: int = 10  # as many as TPE draws at random before it has seen anything
    searcher: str = "tpe"
    pruner: str = "auto"
    seed: int = 0
    time_limit: float | None = None
    epoch_budget: int | None = None
    target: float | None = None
    stop_after: int | None = None
    storage: str = ""
    warm_start: tuple[str, ...] = ()
    on: str = "local"
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None
    keep: int = 1

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values that `from_json` reads."""
        rest = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("space", "objectives")}
        return {**rest, "space": self.space.to_json(), "objectives": [asdict(one) for one in self.objectives]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> StudyPlan:
        """The plan that `to_json` gave."""
        told = dict(values)
        told["space"] = Space.from_json(told["space"])
        told["objectives"] = tuple(Objective(**one) for one in told["objectives"])
        told["warm_start"] = tuple(told["warm_start"])
        return cls(**told)


class StudyStatus(StrEnum):
    """How a study stands. `completed` and `stopped_early` are ends, though more trials can be asked of either."""

    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED_EARLY = "stopped_early"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(kw_only=True)
class Study:
    """A study folder. study.json is rewritten atomically at each change of state; recipe.yaml is what is varied.

    study.json  recipe.yaml  study.db  log.txt
    trials/0007/  trial.json (the point), outcome.json (what came of it), and what its training left
    best.yaml  report.html
    """

    path: Path
    name: str
    plan: StudyPlan
    recipe: Recipe
    status: StudyStatus = StudyStatus.RUNNING
    reason: str = ""
    started: float = field(default_factory=time.time)
    seconds: float = 0.0  # of work, over all times that it was gone on with
    best: dict[str, Any] = field(default_factory=dict)  # {"trial", "value", "values", "params", "run"}
    command: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def begin(cls, path: Path, plan: StudyPlan, recipe: Recipe, **facts: Any) -> Study:
        """A new study in the new or empty folder `path`; raises NotResumable when a study is there already."""
        cls.check_free(path)
        (path / "trials").mkdir(parents=True, exist_ok=True)
        study = cls(path=path, name=facts.pop("name", "") or path.name, plan=plan, recipe=recipe, **facts)
        write_text(path / "recipe.yaml", recipe.to_yaml())
        study.save()
        return study

    @staticmethod
    def check_free(path: Path) -> None:
        """Raise NotResumable when a study is in the folder `path` already."""
        if (path / "study.json").exists():
            raise NotResumable(
                str(path), "a study is there already", fix=f"Go on with it by --resume {path}, or choose another --out."
            )

    @staticmethod
    def is_one(path: Path) -> bool:
        """Whether a study is in the folder `path`."""
        return (path / "study.json").is_file()

    @classmethod
    def open(cls, path: Path) -> Study:
        """The study in folder `path`; raises NotFound when there is none, BadData for a damaged one."""
        if not cls.is_one(path):
            raise NotFound(str(path), "there is no study in this folder (no study.json)")
        facts = read_json(path / "study.json")
        try:
            facts["status"], facts["plan"] = StudyStatus(facts["status"]), StudyPlan.from_json(facts["plan"])
            return cls(path=path, recipe=Recipe.load(path / "recipe.yaml"), **facts)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadData(str(path / "study.json"), f"it is damaged ({error})", fix="Restore it.") from None

    def save(self) -> None:
        """Write study.json."""
        facts = {key: value for key, value in self.__dict__.items() if key not in ("path", "recipe", "plan")}
        write_json(self.path / "study.json", {**facts, "plan": self.plan.to_json()})

    def finish(self, status: StudyStatus, reason: str = "") -> None:
        """Record how it ended."""
        self.status, self.reason = status, reason
        self.save()

    def folder(self, number: int) -> Path:
        """Where a trial lies."""
        return self.path / "trials" / f"{number:04d}"

    @property
    def aim(self) -> Objective:
        """The first objective: the one that picks the best trial."""
        return self.plan.objectives[0]


class Searcher(Protocol):
    """Where the next point comes from. Search itself is Optuna's: a searcher makes one of its samplers.

    A sampler serves one proposal and is then thrown away, so that a study which was killed proposes the same again:
    what it draws must follow from (seed, number) and the trials that are there.
    """

    pruner: str  # that goes with it where nobody said one

    def sampler(self, space: Space, seed: int, number: int) -> Any:
        """The optuna.samplers.BaseSampler that proposes trial `number`."""
        ...

    def size(self, space: Space) -> int | None:
        """How many points there are to try; None where there is no end."""
        ...


class StudyObserver(Protocol):
    """Told of everything that happens in a study, in order, on the thread that leads it."""

    def on_begin(self, study: Study, trials: Sequence[Trial]) -> None:
        """The study begins, or goes on: with these trials from before."""
        ...

    def on_trial(self, trial: Trial) -> None:
        """A trial was taken up by a worker."""
        ...

    def on_epoch(self, trial: Trial, epoch: int, value: float) -> None:
        """A trial has finished an epoch; value: of the first objective, NaN where the epoch has none."""
        ...

    def on_result(self, trial: Trial) -> None:
        """A trial came to an end: complete, pruned or failed."""
        ...

    def on_trouble(self, sentence: str) -> None:
        """Something went wrong that the study survives, such as a worker that died."""
        ...

    def on_end(self, status: StudyStatus, reason: str) -> None:
        """The last trial is over."""
        ...
