"""TrialTasks: from the points of a study to what its workers are given."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from clearsight.core.executor import Assignment, Executor, TrialTask
from clearsight.core.recipe import Recipe
from clearsight.core.space import settings_of
from clearsight.core.study import Study, StudyObserver
from clearsight.core.trial import Trial
from clearsight.tuning.runner import PreparedTrial, StudyRunner
from clearsight.tuning.trial_store import TrialStore
from clearsight.workflow.prepare.cacheable import planned_epochs
from clearsight.workflow.prepare.defaults import weights_path
from clearsight.workflow.study.plan import stacks
from clearsight.workflow.study.stackable import stack_key


class TrialTasks:
    """Makes the tasks of one study."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._metrics = tuple(objective.metric for objective in study.plan.objectives)
        self._stacks = stacks(study.plan, study.recipe)

    def conductor(
        self, ledger: TrialStore, executor: Executor, observers: Sequence[StudyObserver], halt: Callable[[], str]
    ) -> StudyRunner:
        """Who leads the study."""
        return StudyRunner(
            study=self._study,
            ledger=ledger,
            executor=executor,
            make=self.make,
            together=self.together,
            ahead=self._study.plan.stack if self._stacks else 1,
            observers=observers,
            halt=halt,
        )

    def recipe(self, trial: Trial) -> Recipe:
        """The recipe of a trial: the study's own with the point put over it. Raises ClearsightError."""
        recipe = self._study.recipe.replace(**settings_of(trial.params))
        return recipe.replace(weights=weights_path(recipe.model.weights))

    def make(self, trial: Trial) -> PreparedTrial:
        """What a trial comes to; raises ClearsightError where its recipe cannot be."""
        recipe = self.recipe(trial)
        kept = recipe.model_dump(mode="json")
        flat = {name: value for section in kept.values() for name, value in section.items()}
        folder = self._study.folder(trial.number)
        return PreparedTrial(
            task=TrialTask(number=trial.number, folder=str(folder.resolve()), recipe=flat),
            epochs=planned_epochs(recipe),
            digest=hashlib.sha256(recipe.model_dump_json().encode()).hexdigest(),
        )

    def together(self, tasks: Sequence[TrialTask]) -> list[tuple[TrialTask, ...]]:
        """The tasks in groups that train at once: heads over the same frozen network, everything else alone."""
        groups: dict[str, list[TrialTask]] = {}
        for task in tasks:
            key = stack_key(Recipe.parse(task.recipe), self._metrics)
            groups.setdefault(key if key is not None else f"alone {task.number}", []).append(task)
        return [tuple(group) for group in groups.values()]

    def delivery(self, trial: Trial, key: int) -> Assignment:
        """The assignment to make a model of a trial that is over, and to measure it."""
        return Assignment(
            key=key, tasks=(self.make(trial).task,), data=self._study.plan.data, metrics=self._metrics, deliver=True
        )
