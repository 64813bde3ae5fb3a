"""TrialTasks: turns the trials of a study into tasks for its workers, and the best trial into a model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from clearsight.core.executor import Assignment, TrialTask
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run, RunFolder
from clearsight.core.space import settings_of
from clearsight.core.stop import StopKind, StopReason
from clearsight.core.study import Study
from clearsight.core.trial import Trial, best_trial
from clearsight.tuning.runner import StudyRunner
from clearsight.tuning.storage.trial_folder import TrialFolder
from clearsight.tuning.trial_queue import PreparedTrial
from clearsight.workflow.prepare.defaults import plain_settings, planned_epochs, weights_path
from clearsight.workflow.run.rules import Trusted, code_of_recipe, only_trusted
from clearsight.workflow.study.plan import stack_key, stacks


class TrialTasks:
    """The tasks of one study. batch: number of trials that are proposed at a time."""

    def __init__(self, study: Study, trusted: Trusted = ()) -> None:
        """trusted: code that the values of its trials may name, beside that of its recipe."""
        self._study = study
        self._trusted = None if trusted is None else {*trusted, *code_of_recipe(study.recipe)}
        self._metrics = tuple(objective.metric for objective in study.plan.objectives)
        # One at a time, if trials train alone: every result known by then informs the next proposal.
        self.batch = study.plan.stack if stacks(study.plan, study.recipe) else 1

    def recipe(self, trial: Trial) -> Recipe:
        """Return the study's recipe with the values of a trial. Raises ClearsightError."""
        recipe = self._study.recipe.replace(**settings_of(trial.params))
        # The values may come from a folder or a storage to which others write.
        recipe = only_trusted(recipe, self._trusted, self._study.folder(trial.number) / "trial.json")
        return recipe.replace(weights=weights_path(recipe.model.weights))

    def prepare(self, trial: Trial) -> PreparedTrial:
        """Return the trial with its task; raises ClearsightError if its values make no recipe."""
        recipe = self.recipe(trial)
        folder = self._study.folder(trial.number)
        # Workers may run in another working directory, so the folder is absolute.
        return PreparedTrial(
            task=TrialTask(number=trial.number, folder=str(folder.resolve()), recipe=plain_settings(recipe)),
            epochs=planned_epochs(recipe),
            # Of the whole recipe, the seed included: an equal recipe gives the same result to the last bit.
            digest=hashlib.sha256(recipe.model_dump_json().encode()).hexdigest(),
        )

    def group(self, tasks: Sequence[TrialTask]) -> list[tuple[TrialTask, ...]]:
        """Sort tasks into groups that train together: heads over the same frozen network; other trials train alone."""
        groups: dict[str, list[TrialTask]] = {}
        for task in tasks:
            key = stack_key(Recipe.parse(task.recipe), self._metrics)
            # A key of its own for each.
            groups.setdefault(key if key is not None else f"alone {task.number}", []).append(task)
        return [tuple(group) for group in groups.values()]

    def delivery(self, trial: Trial, key: int) -> Assignment:
        """Return the assignment that makes a model of a trial that has ended, and measures it."""
        return Assignment(
            key=key, tasks=(self.prepare(trial).task,), data=self._study.plan.data, metrics=self._metrics, deliver=True
        )

    def deliver_best(self, trials: Sequence[Trial], runner: StudyRunner) -> StopReason | None:
        """Make and measure the model of the best trial; write the trial into the study and its recipe into best.yaml.

        Returns why the model could not be made, or None. Does nothing without a complete trial, or if the model exists.
        """
        study = self._study
        best = best_trial(trials, study.objective)
        if best is None:
            study.best = {}
            return None
        # A duplicate has no run of its own: the model is that of the trial that was trained.
        trained = next(t for t in trials if t.number == best.same_as) if best.same_as is not None else best
        run_folder = TrialFolder(study.folder(trained.number)).run
        study.best = {
            "trial": best.number,
            "value": best.values[0],
            "values": list(best.values),
            "params": dict(best.params),
            "run": str(run_folder),
        }
        self.recipe(best).without_secrets().write(study.path / "best.yaml")
        study.save()  # before the model is made, which may take minutes or fail
        if RunFolder(run_folder).is_run and Run.open(run_folder).has_bundle:
            return None
        failure = runner.run_assignment(lambda key: self.delivery(trained, key))
        text = f"the model of trial {trained.number} could not be made: {failure}"
        return StopReason(StopKind.FAILURE, text) if failure else None
