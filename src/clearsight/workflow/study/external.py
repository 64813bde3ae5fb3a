"""ExternalStudy: a search whose trials somebody else runs, such as the jobs of a service."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.recipe import Recipe
from clearsight.core.space import Params, Space
from clearsight.core.study import Study, StudyPlan, StudyStatus
from clearsight.core.trial import Objective, Trial, TrialState, best_trial
from clearsight.tuning import early_stopping
from clearsight.tuning.proposal import propose
from clearsight.workflow.study.plan import searcher_of

_ATTEMPTS = 8  # at values that no trial has had
_OTHER_SEED = 1_000_003  # between the seeds of two attempts


@dataclass(frozen=True, kw_only=True)
class ExternalStudy:
    """Space, objective and searcher of a search. Nothing is kept here: whoever runs the trials has them."""

    space: Space
    objective: Objective
    searcher: str
    seed: int

    def propose(self, trials: Sequence[Trial], fixed: Params | None = None) -> Mapping[str, Any] | None:
        """Return the values of the next trial; None once every combination has been proposed.

        trials: all of them in the order of their numbers, imported ones first, running ones too.  fixed: values of some
        settings that it gets in any case. The result depends on nothing but the arguments and the study.
        Values that a trial has had are avoided where others are found.
        """
        searcher, known = searcher_of(self.searcher), [dict(trial.params) for trial in trials if not trial.imported]
        values: Mapping[str, Any] | None = None
        for attempt in range(_ATTEMPTS):
            seed = self.seed + _OTHER_SEED * attempt
            values = propose(trials, self.space, self.objective, searcher, seed, fixed=fixed)
            if values is None or dict(values) not in known:
                return values
        return values

    def is_below_median(self, curve: early_stopping.Curve, earlier: Sequence[early_stopping.Curve]) -> bool:
        """Return True if the last value of a curve is worse than the median of the earlier trials."""
        return early_stopping.below_median(curve, earlier, self.objective)

    def rung_behind(self, number: int, curves: Mapping[int, early_stopping.Curve], low: int, high: int) -> int | None:
        """Return the epoch at which Hyperband ends trial `number`; None to go on.

        low, high: fewest and most epochs of a trial.
        """
        return early_stopping.behind_at_rung(number, curves, self.objective, low, high)

    def importances(self, trials: Sequence[Trial]) -> dict[str, dict[str, float]]:
        """Return method -> setting -> share in [0, 1]; {} for too few complete trials."""
        from clearsight.tuning.analysis.importance import importances  # scikit-learn: a second, and proposals need none

        return importances(trials, self.space, self.objective)

    def write(self, folder: Path, name: str, trials: Sequence[Trial], *, seconds: float, is_running: bool) -> Path:
        """Write the trials as a study folder with its report, in place of what is in `folder`; return the page.

        seconds: of work so far. `clearsight report` and `clearsight.open_study` read the folder.
        """
        from clearsight.tuning.trial_store import TrialStore
        from clearsight.workflow.study.report import write_study_report

        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".study-") as parent:
            part = Path(parent) / folder.name
            study = self._study(part, name, trials)
            study.seconds = seconds
            with closing(TrialStore(study, searcher_of(self.searcher), "none", 1)) as store:
                for trial in trials:
                    store.add(trial)
            if best := best_trial(trials, self.objective):
                facts = {"trial": best.number, "value": best.values[0], "values": list(best.values)}
                study.best = {**facts, "params": dict(best.params), "run": ""}
            study.finish(StudyStatus.RUNNING if is_running else StudyStatus.COMPLETED)
            write_study_report(study, trials)
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        return folder / "report.html"

    def _study(self, path: Path, name: str, trials: Sequence[Trial]) -> Study:
        plan = StudyPlan.parse(
            {
                "data": "",
                "space": self.space,
                "objectives": (self.objective,),
                "seed": self.seed,
                "searcher": self.searcher,
                "trials": max(1, sum(trial.state is not TrialState.RUNNING for trial in trials)),
            }
        )
        return Study.begin(path, plan, Recipe(), name=name)
