"""TuningJob: the row of a tuning job as values: its definitions, its training jobs, and the search over them."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from clearsight.core.trial import Objective, Trial, TrialState
from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.tuning.child import TuningChild, child_name
from clearsight_sagemaker.tuning.definitions import (
    TuningDefinition,
    chosen_definition,
    definitions_of,
    first_choice,
    search_space,
)

if TYPE_CHECKING:
    from clearsight.workflow.study.external import ExternalStudy

IN_PROGRESS = ("InProgress", "Stopping")
_SEARCHERS = {"Bayesian": "tpe", "Random": "random", "Grid": "grid", "Hyperband": "hyperband"}


class TuningJob:
    """A tuning job as its row had it. document: request, arn, seed, imported, children, ending."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.request: Mapping[str, Any] = resource.document["request"]
        self.config: Mapping[str, Any] = self.request["HyperParameterTuningJobConfig"]
        self.children = [TuningChild.of(values) for values in resource.document["children"]]

    @cached_property
    def definitions(self) -> list[TuningDefinition]:
        """Definitions of training jobs, in the order of the request."""
        return definitions_of(self.request)

    def definition(self, child: TuningChild) -> TuningDefinition:
        """Return the definition of a training job."""
        return next(definition for definition in self.definitions if definition.name == child.definition)

    @property
    def limits(self) -> Mapping[str, int]:
        """Limits of the request: jobs, jobs at the same time, seconds."""
        limits: Mapping[str, int] = self.config["ResourceLimits"]
        return limits

    @cached_property
    def objective(self) -> Objective:
        """Metric and direction; where definitions have different metrics, the first one gives the name."""
        first = self.definitions[0]
        return Objective(first.metric, "maximize" if first.kind == "Maximize" else "minimize")

    @property
    def running(self) -> list[TuningChild]:
        """Training jobs that have not ended."""
        return [child for child in self.children if child.end is None]

    @property
    def scored(self) -> list[TuningChild]:
        """Training jobs that have ended with an objective, in the order in which they ended."""
        scored = [child for child in self.children if child.has_objective]
        return sorted(scored, key=lambda child: (child.end.ended or 0.0 if child.end else 0.0, child.number))

    @property
    def best(self) -> TuningChild | None:
        """Training job with the best objective, of equal ones the first; None without one."""
        sign = -1.0 if self.objective.direction == "maximize" else 1.0
        return min(
            (child for child in self.children if child.has_objective),
            key=lambda child: (sign * _value(child), child.number),
            default=None,
        )

    def status_counts(self) -> dict[str, int]:
        """Return TrainingJobStatusCounters."""
        count = Counter(child.end.status if child.end else "InProgress" for child in self.children)
        failed = {"RetryableError": 0, "NonRetryableError": count["Failed"]}
        return {**{name: count[name] for name in ("Completed", "InProgress", "Stopped")}, **failed}

    def objective_counts(self) -> dict[str, int]:
        """Return ObjectiveStatusCounters."""
        count = Counter(child.objective_status for child in self.children)
        return {name: count[name] for name in ("Succeeded", "Pending", "Failed")}

    def changed(self, child: TuningChild) -> TuningJob:
        """Return the tuning job with another state of a training job, or with one more."""
        others = {other.number: other for other in self.children} | {child.number: child}
        children = [others[number].to_json() for number in sorted(others)]
        return TuningJob(replace(self.resource, document={**self.resource.document, "children": children}))

    # The search

    @cached_property
    def study(self) -> ExternalStudy:
        """Search over all definitions."""
        # Imported late: the service starts without Optuna.
        from clearsight.workflow.study.external import ExternalStudy

        return ExternalStudy(
            space=search_space(self.definitions),
            objective=self.objective,
            searcher=_SEARCHERS[self.config["Strategy"]],
            seed=self.resource.document["seed"],
        )

    def next_child(self) -> TuningChild | None:
        """Return the training job that comes next, with its values; None once every combination has been tried.

        It depends on the seed, its number and the training jobs that are known.
        """
        number = len(self.children) + 1
        values = self.study.propose(self.trials(), first_choice(self.definitions, number - 1))
        if values is None:
            return None
        definition = chosen_definition(self.definitions, values)
        return TuningChild(
            number=number,
            name=child_name(self.resource.name, self.resource.created, number),
            definition=definition.name,
            tuned=definition.values(values),
        )

    def trials(self) -> list[Trial]:
        """Return the training jobs as trials of the search, those of a warm start first."""
        imported = self.resource.document["imported"]
        is_transfer = self.request.get("WarmStartConfig", {}).get("WarmStartType") == "TransferLearning"
        values = {child.number: _value(child) for child in self.scored}
        if is_transfer and imported:
            values = _standardized(values)
        trials = [*self._imported_trials(standardize=is_transfer)]
        for child in self.children:
            state = TrialState.RUNNING if child.end is None else TrialState.FAILED
            value = values.get(child.number)
            trials.append(
                Trial(
                    number=len(trials),
                    state=state if value is None else TrialState.COMPLETE,
                    params=self.definition(child).searched(child.tuned),
                    values=() if value is None else (value,),
                )
            )
        return trials

    def _imported_trials(self, *, standardize: bool) -> list[Trial]:
        imported: Sequence[Mapping[str, Any]] = self.resource.document["imported"]
        values = {index: float(trial["value"]) for index, trial in enumerate(imported)}
        if standardize:  # the values of other data have another scale
            sources = {trial["source"] for trial in imported}
            parts = [{i: v for i, v in values.items() if imported[i]["source"] == source} for source in sources]
            values = {index: value for part in parts for index, value in _standardized(part).items()}
        definitions = {definition.name: definition for definition in self.definitions}
        return [
            Trial(
                number=index,
                state=TrialState.COMPLETE,
                params=definitions[trial["definition"]].searched(trial["tuned"]),
                values=(values[index],),
                source=trial["source"],
            )
            for index, trial in enumerate(imported)
        ]


def _value(child: TuningChild) -> float:
    assert child.end is not None
    assert child.end.value is not None
    return child.end.value


def _standardized(values: Mapping[int, float]) -> dict[int, float]:
    """Return values less their mean, in units of their standard deviation."""
    if not values:
        return {}
    mean, deviation = statistics.fmean(values.values()), statistics.pstdev(values.values())
    return {
        key: (value - mean) / deviation if deviation > 0 and math.isfinite(deviation) else 0.0
        for key, value in values.items()
    }
