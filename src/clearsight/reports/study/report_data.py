"""StudyFacts: everything the page of a study says, as plain values; whoever wires gathers them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clearsight.core.study import StudyPlan
from clearsight.core.trial import Objective, Trial, TrialState, complete_trials


@dataclass(frozen=True, kw_only=True)
class StudyReportData:
    """One study, told in plain values; only `name`, `status` and `plan` must be known.

    status: a value of core.study.StudyStatus; reason: why it ended so.
    recipe: what is varied, as YAML.  trials: all of them, those of earlier studies too, in the order of their numbers.
    best: {"trial", "value", "values", "params", "run", "test"}; run: where the trial lies; test: its scores on the test
        split, or None.  {} while no trial is complete.
    seconds: of work, over all times that it was gone on with.
    importance: method ("fanova", "ped_anova") -> field -> share in [0, 1]; {} when the trials are too few.
    hypervolume: (trial, share of the box won until then), with several objectives.
    advice: sentences, the most useful first.  next: commands to type.
    saved: {"features_seconds", "pruned_trials", "pruned_epochs", "pruned_seconds", "answered_trials"}; any may be
        missing. pruned_epochs: those that pruned trials were planned to train and did not.
    data: {"path", "format", "fingerprint", "classes": [name], "counts": {split: {class: count}}}.
    command: the words of the command line that started the study.
    """

    name: str
    status: str
    plan: StudyPlan
    reason: str = ""
    recipe: str = ""
    trials: Sequence[Trial] = ()
    best: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    importance: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    hypervolume: Sequence[tuple[int, float]] = ()
    advice: Sequence[str] = ()
    saved: Mapping[str, float] = field(default_factory=dict)
    next: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    command: Sequence[str] = ()

    @property
    def aim(self) -> Objective:
        """The first objective: the one that picks the best trial."""
        return self.plan.objectives[0]

    @property
    def own(self) -> list[Trial]:
        """The trials of this study."""
        return [trial for trial in self.trials if trial.own]

    @property
    def brought(self) -> list[Trial]:
        """The trials of earlier studies that the search began from."""
        return [trial for trial in self.trials if not trial.own]

    @property
    def scored(self) -> list[Trial]:
        """Own complete trials whose first value is a number, in order."""
        return [trial for trial in complete_trials(self.trials) if trial.values and math.isfinite(trial.values[0])]

    @property
    def measured(self) -> list[Trial]:
        """The scored ones of which every objective is a number."""
        aims = self.plan.objectives
        return [one for one in self.scored if len(one.values) == len(aims) and all(map(math.isfinite, one.values))]

    @property
    def ranked(self) -> list[Trial]:
        """The scored ones, the best first."""
        return sorted(self.scored, key=lambda one: one.values[0], reverse=self.aim.direction == "maximize")

    @property
    def best_trial(self) -> Trial | None:
        """The trial that `best` names, else the best of the scored."""
        named = [trial for trial in self.scored if trial.number == self.best.get("trial")]
        return next(iter([*named, *self.ranked]), None)

    @property
    def weighty(self) -> list[str]:
        """The varied fields, those that matter most first, as far as it is known."""
        known = next((shares for shares in self.importance.values() if shares), {})
        return sorted(self.plan.space.names, key=lambda name: -known.get(name, -1.0))

    def counted(self, state: TrialState) -> int:
        """How many own trials are in a state."""
        return sum(trial.state is state for trial in self.own)
