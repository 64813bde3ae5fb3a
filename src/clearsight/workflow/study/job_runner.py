"""Bench: where assignments of a study are carried out, in a worker process or in a task on a cluster."""

from __future__ import annotations

import fcntl
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clearsight.core.errors import ClearsightError
from clearsight.core.executor import Assignment, TrialTask
from clearsight.core.recipe import Recipe
from clearsight.core.trial import TrialResult, TrialState
from clearsight.training.checkpoint import Checkpoints
from clearsight.tuning.storage.trial_folder import TrialFolder
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.study.head_trials import HeadTrials
from clearsight.workflow.study.reporter import TrialReporter, WorkerResources
from clearsight.workflow.study.run_trial import carry_out_run
from clearsight.workflow.study.stackable import stack_key
from clearsight.workflow.train import fit, resume

log = logging.getLogger(__name__)


class JobRunner:
    """Carries out assignments one after another, and keeps between them what the next one may need again."""

    def __init__(self, post: WorkerResources) -> None:
        self._post = post
        self._heads = HeadTrials(post.places)

    @classmethod
    def at(cls, post: Mapping[str, object]) -> JobRunner:
        """The bench of a post that came as JSON values."""
        return cls(WorkerResources.from_json(post))

    def carry_out(self, assignment: Assignment, talk: TrialReporter) -> list[TrialResult]:
        """The outcomes of the trials that came to an end, each on disk already; the others stay resumable.

        What goes wrong in a trial is its outcome; nothing is raised but what ends the process.
        """
        with _alone(assignment.tasks):
            if assignment.deliver:
                return [one for task in assignment.tasks for one in self._delivered(assignment, task)]
            return self._trained(assignment, talk)

    def _trained(self, assignment: Assignment, talk: TrialReporter) -> list[TrialResult]:
        recipes = {task.number: self._recipe(task) for task in assignment.tasks}
        source, metrics, places = Path(assignment.data), assignment.metrics, self._post.places

        def together() -> list[TrialResult] | None:
            if any(stack_key(recipe, metrics) is None for recipe in recipes.values()):
                return None
            folders = {task.number: Path(task.folder) for task in assignment.tasks}
            return self._heads.train(recipes, folders, source, metrics, talk)

        stacked = _safely(assignment.tasks, together)
        if stacked is not None:
            return self._kept(assignment.tasks, stacked)
        outcomes: list[TrialResult] = []
        for task in assignment.tasks:

            def alone(task: TrialTask = task) -> list[TrialResult]:
                own = carry_out_run(Path(task.folder), recipes[task.number], source, metrics, places, talk)
                return [own] if own is not None else []

            outcomes += self._kept([task], _safely([task], alone) or [])
        return outcomes

    def _kept(self, tasks: Sequence[TrialTask], outcomes: Sequence[TrialResult]) -> list[TrialResult]:
        """The outcomes, on disk before anybody hears of them."""
        folders = {task.number: TrialFolder(Path(task.folder)) for task in tasks}
        for outcome in outcomes:
            folders[outcome.number].conclude(outcome)
        return list(outcomes)

    def _delivered(self, assignment: Assignment, task: TrialTask) -> list[TrialResult]:
        """Make the model of a trial that is over and measure it; an outcome only where that failed."""

        def deliver() -> list[TrialResult]:
            folder, around = Path(task.folder), LaunchContext(places=self._post.places)
            if (folder / "head.safetensors").is_file() and not _has_checkpoint(folder / "run"):
                shutil.rmtree(folder / "run", ignore_errors=True)  # of somebody who was killed while writing it
                self._heads.deliver(folder, self._recipe(task), Path(assignment.data))
            elif (folder / "run" / "run.json").is_file():
                resume(folder / "run", around=around)
            else:  # its weights went with a better trial that is gone too: the same recipe gives them again
                fit(assignment.data, out=folder / "run", recipe=self._recipe(task), around=around)
            return []

        return _safely([task], deliver) or []

    def _recipe(self, task: TrialTask) -> Recipe:
        """A trial's recipe, with this worker's share of the machine where it left that open."""
        recipe = Recipe.parse(task.recipe)
        changes: dict[str, object] = {"auto_tune": False, "repair": 0}
        if recipe.train.device == "auto":
            changes["device"] = self._post.device
        if recipe.train.threads is None:
            changes["threads"] = self._post.threads
        if recipe.data.workers is None:
            changes["workers"] = self._post.threads
        return recipe.replace(**changes)


def _has_checkpoint(run: Path) -> bool:
    return (run / "run.json").is_file() and Checkpoints(run / "checkpoints").newest.exists()


def _safely(tasks: Sequence[TrialTask], act: Callable[[], list[TrialResult] | None]) -> list[TrialResult] | None:
    """What `act` gives; where it raises, every one of the trials has failed for that reason."""
    try:
        return act()
    except ClearsightError as error:
        reason = str(error)
    except Exception as error:
        log.exception("a trial failed")
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return [TrialResult(number=task.number, state=TrialState.FAILED, reason=reason) for task in tasks]


@contextmanager
def _alone(tasks: Sequence[TrialTask]) -> Iterator[None]:
    """Within the block no other worker has these trials: one of a study that was killed may take a moment to end."""
    with ExitStack() as held:
        for task in tasks:
            folder = Path(task.folder)
            folder.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context((folder / ".lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
