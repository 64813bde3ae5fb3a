"""JobRunner: runs the assignments of a study, in a worker process or in a task on a cluster."""

from __future__ import annotations

import fcntl
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clearsight.core.errors import ClearsightError
from clearsight.core.executor import Assignment, TrialTask
from clearsight.core.recipe import Recipe
from clearsight.core.run import RunFolder
from clearsight.core.trial import TrialResult
from clearsight.training.checkpoint import Checkpoints
from clearsight.tuning.storage.trial_folder import TrialFolder
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.launch import launch_run, resume_run
from clearsight.workflow.run.rules import code_of_recipe
from clearsight.workflow.study.head_trials import HeadTrials
from clearsight.workflow.study.plan import stack_key
from clearsight.workflow.study.reporter import TrialReporter, WorkerResources
from clearsight.workflow.study.run_trial import run_trial

log = logging.getLogger(__name__)


class JobRunner:
    """Runs one assignment after another, and keeps between them what the next one may need again."""

    def __init__(self, resources: WorkerResources) -> None:
        self._resources = resources
        self._heads = HeadTrials(resources.paths)

    @classmethod
    def from_json(cls, resources: Mapping[str, object]) -> JobRunner:
        return cls(WorkerResources.from_json(resources))

    def run(self, assignment: Assignment, reporter: TrialReporter) -> list[TrialResult]:
        """Return the results of the trials that ended, each on disk already; other trials stay resumable.

        An error in a trial becomes its result; only what ends the process is raised.
        """
        with _locked(assignment.tasks):
            if assignment.deliver:
                return [result for task in assignment.tasks for result in self._deliver(assignment, task)]
            return self._train(assignment, reporter)

    def _train(self, assignment: Assignment, reporter: TrialReporter) -> list[TrialResult]:
        recipes = {task.number: self._recipe(task) for task in assignment.tasks}
        folders = {task.number: TrialFolder(Path(task.folder)) for task in assignment.tasks}
        source, metrics = Path(assignment.data), assignment.metrics
        # Together if possible: the recipes must allow it, and the network, which only the worker knows.
        if all(stack_key(recipe, metrics) is not None for recipe in recipes.values()):
            results = _errors_as_results(
                recipes, lambda: self._heads.train(recipes, folders, source, metrics, reporter)
            )
            if results is not None:
                return _write(folders, results)
        results = []
        for number, folder in folders.items():

            def train_alone(number: int = number, folder: TrialFolder = folder) -> list[TrialResult]:
                result = run_trial(folder, recipes[number], source, metrics, self._resources.paths, reporter)
                return [result] if result is not None else []

            results += _write(folders, _errors_as_results([number], train_alone) or [])
        return results

    def _deliver(self, assignment: Assignment, task: TrialTask) -> list[TrialResult]:
        """Make the model of a trial that has ended, and measure it; returns a result only if that fails."""

        def deliver() -> list[TrialResult]:
            folder, recipe = TrialFolder(Path(task.folder)), self._recipe(task)
            launch = LaunchContext(paths=self._resources.paths, trusted=code_of_recipe(recipe))
            run = RunFolder(folder.run)
            has_checkpoint = run.is_run and Checkpoints(run.checkpoints).newest.exists()
            if folder.head.is_file() and not has_checkpoint:
                shutil.rmtree(run.path, ignore_errors=True)  # half-written by a worker that was killed
                self._heads.deliver(folder, recipe, Path(assignment.data))
            elif run.is_run:
                resume_run(run.path, launch)  # trains only what its checkpoints lack
            else:  # its weights were deleted for a better trial that is gone too: the same recipe gives them again
                launch_run(Path(assignment.data), run.path, recipe, launch)
            return []

        return _errors_as_results([task.number], deliver) or []

    def _recipe(self, task: TrialTask) -> Recipe:
        """Return the recipe of a trial, with this worker's device and threads if the recipe does not set them."""
        recipe = Recipe.parse(task.recipe)
        changes: dict[str, object] = {"auto_tune": False, "repair": 0}  # both would change the trial's settings
        if recipe.train.device == "auto":
            changes["device"] = self._resources.device
        if recipe.train.threads is None:
            changes["threads"] = self._resources.threads
        if recipe.data.workers is None:
            changes["workers"] = self._resources.threads
        return recipe.replace(**changes)


def _write(folders: Mapping[int, TrialFolder], results: list[TrialResult]) -> list[TrialResult]:
    """Write results into the folders of their trials, before they are reported: a message to the study may be lost."""
    for result in results:
        folders[result.number].write_result(result)
    return results


def _errors_as_results(
    numbers: Iterable[int], action: Callable[[], list[TrialResult] | None]
) -> list[TrialResult] | None:
    """Return the result of `action`; if it raises, a failed result of every trial with the error as its reason."""
    try:
        return action()
    except ClearsightError as error:
        return [TrialResult.failed(number, error) for number in numbers]
    except Exception as error:  # a defect costs this trial alone: the study goes on, and the log has the traceback
        log.exception("a trial failed")
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return [TrialResult.failed(number, reason) for number in numbers]


@contextmanager
def _locked(tasks: Sequence[TrialTask]) -> Iterator[None]:
    """Hold the locks of these trials within the block: a worker of a killed study may need a moment to end."""
    with ExitStack() as locks:
        for task in tasks:
            folder = Path(task.folder)
            folder.mkdir(parents=True, exist_ok=True)
            lock = locks.enter_context((folder / ".lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
