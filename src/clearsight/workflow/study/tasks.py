"""TrialTasks: turns the trials of a study into tasks for its workers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from clearsight.core.executor import Assignment, TrialTask
from clearsight.core.recipe import Recipe
from clearsight.core.space import settings_of
from clearsight.core.study import Study
from clearsight.core.trial import Trial
from clearsight.tuning.trial_queue import PreparedTrial
from clearsight.workflow.prepare.defaults import plain_settings, planned_epochs, weights_path
from clearsight.workflow.study.plan import stack_key, stacks


class TrialTasks:
    """The tasks of one study. batch: number of trials that are proposed at a time."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._metrics = tuple(objective.metric for objective in study.plan.objectives)
        # One at a time, if trials train alone: every result known by then informs the next proposal.
        self.batch = study.plan.stack if stacks(study.plan, study.recipe) else 1

    def recipe(self, trial: Trial) -> Recipe:
        """Return the study's recipe with the values of a trial. Raises ClearsightError."""
        recipe = self._study.recipe.replace(**settings_of(trial.params))
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
