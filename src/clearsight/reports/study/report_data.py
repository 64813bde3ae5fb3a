"""StudyReportData: everything that the page of a study shows, as plain values. The workflow gathers them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clearsight.core.study import StudyPlan
from clearsight.core.trial import Objective, Trial, TrialState, complete_trials, rank


@dataclass(frozen=True, kw_only=True)
class StudyReportData:
    """One study in plain values. Only `name`, `status` and `plan` are required.

    status: a value of core.study.StudyStatus; reason: why it ended so.
    recipe: the recipe whose settings vary, as YAML.  trials: all of them, those of earlier studies too, by number.
    best: {"trial", "value", "values", "params", "run", "test", "ties"}; run: folder of the trial; test: its scores on
        the test split, or None; ties: as of core.ties, or None.  {} while no trial is complete.
    failed_steps: {"step", "problem", "command"} of the steps after the best trial's training that failed.
    seconds: of work, over all sessions of the study.
    importance: method ("fanova", "ped_anova") -> setting -> share in [0, 1]; {} when there are too few trials.
    hypervolume: (trial, share of the box dominated until then), with several objectives.
    advice: sentences, the most useful first.  next: commands to type.
    saved: {"features_seconds", "pruned_trials", "pruned_epochs", "pruned_seconds", "answered_trials"}; any may be
        missing. pruned_epochs: epochs that pruned trials were planned to train and did not.
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
    failed_steps: Sequence[Mapping[str, Any]] = ()
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
    def objective(self) -> Objective:
        """First objective, which decides the best trial."""
        return self.plan.objectives[0]

    @property
    def own_trials(self) -> list[Trial]:
        """Trials of this study."""
        return [trial for trial in self.trials if not trial.imported]

    @property
    def imported_trials(self) -> list[Trial]:
        """Trials of earlier studies, from which the search started."""
        return [trial for trial in self.trials if trial.imported]

    @property
    def scored(self) -> list[Trial]:
        """Complete trials of this study whose first value is finite, in order."""
        return [trial for trial in complete_trials(self.trials) if trial.values and math.isfinite(trial.values[0])]

    @property
    def fully_scored(self) -> list[Trial]:
        """Scored trials with a finite value for every objective."""
        number = len(self.plan.objectives)
        return [trial for trial in self.scored if len(trial.values) == number and all(map(math.isfinite, trial.values))]

    @property
    def ranked(self) -> list[Trial]:
        """Scored trials, the best first."""
        return rank(self.scored, self.objective)

    @property
    def best_trial(self) -> Trial | None:
        """Trial that `best` names, else the best of the scored ones."""
        # `best` comes from study.json; while workers write, it may be behind the trials.
        chosen = [trial for trial in self.scored if trial.number == self.best.get("trial")]
        return next(iter([*chosen, *self.ranked]), None)

    @property
    def settings_by_importance(self) -> list[str]:
        """Settings that vary, the most important first; in the order of the space where the importance is unknown."""
        # The first method with a result: with few trials one of them has none.
        shares = next((shares for shares in self.importance.values() if shares), {})
        return sorted(self.plan.space.names, key=lambda name: -shares.get(name, -1.0))

    def count(self, state: TrialState) -> int:
        """Return the number of trials of this study in a state."""
        return sum(trial.state is state for trial in self.own_trials)
