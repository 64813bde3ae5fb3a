"""Contract of searchers. A third party subclasses `SearcherContract` in its own tests:

class TestMine(SearcherContract):
    searcher = MySearcher()
"""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

from clearsight.core.recipe import Recipe
from clearsight.core.space import Choice, Dimension, FloatRange, IntRange, Params, Space
from clearsight.core.study import Searcher, Study, StudyPlan
from clearsight.core.trial import Objective, Trial, TrialResult, TrialState
from clearsight.tuning.trial_store import TrialStore

ACCURACY = Objective("accuracy", "maximize")
_EPOCHS = 10  # of a trial

# A logarithmic range, a choice, a conditional setting, whole numbers, and steps.
MIXED = Space(
    (
        Dimension(name="lr", domain=FloatRange(low=1e-5, high=1e-1, log=True)),
        Dimension(name="optimizer", domain=Choice(values=("adamw", "sgd"))),
        Dimension(name="momentum", domain=FloatRange(low=0.5, high=0.99), condition={"optimizer": ("sgd",)}),
        Dimension(name="epochs", domain=IntRange(low=5, high=40)),
        Dimension(name="dropout", domain=FloatRange(low=0.0, high=0.3, step=0.1)),
    )
)
NUMBERS = Space(
    (
        Dimension(name="lr", domain=FloatRange(low=1e-5, high=1e-1, log=True)),
        Dimension(name="weight_decay", domain=FloatRange(low=1e-6, high=1e-1, log=True)),
    )
)


class SearcherContract:
    """Subclass it as Test..., set `searcher`."""

    searcher: Searcher
    restarts = False  # a resumed study proposes other values than an undisturbed one, but still inside the space
    multi_objective = True  # supports several objectives
    trials = 13  # in a history: more than a sampler draws at random before it begins to learn

    def test_values_lie_in_the_space_and_follow_from_the_history(self, tmp_path: Path) -> None:
        """No two trials are equal, and a study that was killed proposes the same next trial as an undisturbed one."""
        with new_store(tmp_path / "undisturbed", self.searcher, MIXED) as store:
            trials = run_trials(store, self.trials)
            assert all(MIXED.contains(trial.params) for trial in trials)
            assert len({repr(trial.params) for trial in trials}) == self.trials
            assert {"adamw", "sgd"} == {trial.params["optimizer"] for trial in trials} or self.searcher.size(MIXED)
            store.flush()
            # A copy of the folder at this moment is what a kill leaves behind.
            shutil.copytree(tmp_path / "undisturbed", tmp_path / "killed")
            expected = propose(store)
        with reopen_store(tmp_path / "killed", self.searcher) as store:
            trial = propose(store)
            assert trial.number == expected.number
            assert MIXED.contains(trial.params)
            assert trial.params == expected.params or self.restarts

    def test_another_seed_gives_other_values(self, tmp_path: Path) -> None:
        if self.searcher.size(NUMBERS) is not None:
            return  # it tries all combinations in order
        params = []
        for seed in (0, 1):
            with new_store(tmp_path / str(seed), self.searcher, NUMBERS, seed=seed) as store:
                params.append(propose(store).params)
        assert params[0] != params[1]

    def test_imported_trials_use_up_no_values(self, tmp_path: Path) -> None:
        """Trials of an earlier study inform the search, and no combination is left out because of them."""
        with new_store(tmp_path / "earlier", self.searcher, MIXED) as store:
            earlier = [trial for trial in run_trials(store, 4) if trial.state is TrialState.COMPLETE]
        with new_store(tmp_path / "s", self.searcher, MIXED) as store:
            assert store.import_trials(earlier, "earlier") == len(earlier) > 0
            first = propose(store)
        assert first.number == len(earlier)
        assert MIXED.contains(first.params)
        if self.searcher.size(MIXED) is not None:
            assert first.params == next(MIXED.grid())

    def test_serves_several_objectives(self, tmp_path: Path) -> None:
        if not self.multi_objective:
            return  # such a plan is refused before a study begins
        objectives = (ACCURACY, Objective("seconds", "minimize"))
        with new_store(tmp_path / "s", self.searcher, MIXED, objectives=objectives) as store:
            assert all(MIXED.contains(trial.params) for trial in run_trials(store, 6))

    def test_names_a_pruner(self) -> None:
        from clearsight.tuning.pruners import PRUNERS

        assert self.searcher.pruner in PRUNERS


def new_store(
    path: Path,
    searcher: Searcher,
    space: Space = MIXED,
    *,
    objectives: tuple[Objective, ...] = (ACCURACY,),
    pruner: str = "none",
    **plan: Any,
) -> closing[TrialStore]:
    """Return the record of a new study, for a `with` statement."""
    # More than any test runs: the plan never ends one.
    study_plan = StudyPlan(data="/no/data", space=space, objectives=objectives, **{"trials": 1000, **plan})
    return closing(TrialStore(Study.begin(path, study_plan, Recipe()), searcher, pruner, _EPOCHS))


def reopen_store(path: Path, searcher: Searcher, *, pruner: str = "none") -> closing[TrialStore]:
    """Return the record of an existing study, as another process would open it, under the name that it began with."""
    return closing(TrialStore(Study.open(path), searcher, pruner, _EPOCHS))


def propose(store: TrialStore) -> Trial:
    """Return the next trial; there is one."""
    trial = store.propose()
    assert trial is not None
    return trial


def run_trials(store: TrialStore, count: int) -> list[Trial]:
    """Return trials of every state: of seven, one was pruned, one has failed and one still runs."""
    return [_end(store, propose(store)) for _ in range(count)]


def _end(store: TrialStore, trial: Trial) -> Trial:
    value, objectives = score(trial.params), len(store.study.plan.objectives)
    store.report_epoch(trial.number, 1, value / 2)
    if trial.number % 7 == 3:  # still running, as trials of other workers are
        return store.trial(trial.number)
    state = {4: TrialState.PRUNED, 5: TrialState.FAILED}.get(trial.number % 7, TrialState.COMPLETE)
    values = (value, 1.0 + trial.number % 3)[:objectives] if state is TrialState.COMPLETE else ()
    reason = "" if values else "the test ended it"
    return store.finish(TrialResult(number=trial.number, state=state, values=values, reason=reason, seconds=1.0))


def score(params: Params) -> float:
    """Return a value to maximise: best with a learning rate near 0.003 and sgd."""
    lr, bonus = float(str(params["lr"])), 0.1 * (params.get("optimizer") == "sgd")
    return 1 / (1 + (lr - 3e-3) ** 2 * 1e4) + bonus
