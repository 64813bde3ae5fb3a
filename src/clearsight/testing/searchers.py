"""What every way to search must keep to. A third party subclasses `SearcherContract` in its own tests:

class TestMine(SearcherContract):
    searcher = MySearcher()
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clearsight.core.recipe import Recipe
from clearsight.core.space import Choice, Dimension, FloatRange, IntRange, Params, Space
from clearsight.core.study import Searcher, Study, StudyPlan
from clearsight.core.trial import Objective, Trial, TrialResult, TrialState
from clearsight.tuning.trial_store import TrialStore

ACCURACY = Objective("accuracy", "maximize")

# A range by orders of magnitude, a choice, a field that applies only sometimes, whole numbers, and steps.
MIXED = Space(
    (
        Dimension(name="lr", domain=FloatRange(low=1e-5, high=1e-1, log=True)),
        Dimension(name="optimizer", domain=Choice(values=("adamw", "sgd"))),
        Dimension(name="momentum", domain=FloatRange(low=0.5, high=0.99), when={"optimizer": ("sgd",)}),
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
    adapts_anew = False  # whether a study that is gone on with proposes other points than one that was never cut short
    several = True  # whether it serves several objectives
    trials = 13  # in a history: more than those that a sampler draws before it begins to learn

    def test_points_lie_in_the_space_and_the_same_history_gives_the_same_next_one(self, tmp_path: Path) -> None:
        """No two are the same, and a study that was killed and is gone on with proposes what it would have proposed."""
        with record(tmp_path / "one", self.searcher, MIXED) as ledger:
            points = [trial.params for trial in lived(ledger, self.trials)]
            assert all(MIXED.holds(point) for point in points)
            assert len({repr(point) for point in points}) == self.trials
            assert {"adamw", "sgd"} == {point["optimizer"] for point in points} or self.searcher.size(MIXED)
            ledger.flush()
            shutil.copytree(tmp_path / "one", tmp_path / "two")
            expected = proposed(ledger)
        with reopened(tmp_path / "two", self.searcher) as ledger:
            again = proposed(ledger)
            assert again.number == expected.number
            assert MIXED.holds(again.params)
            assert again.params == expected.params or self.adapts_anew

    def test_another_seed_gives_other_points(self, tmp_path: Path) -> None:
        if self.searcher.size(NUMBERS) is not None:
            return  # it tries them all in order
        points = []
        for seed in (0, 1):
            with record(tmp_path / str(seed), self.searcher, NUMBERS, seed=seed) as ledger:
                points.append(proposed(ledger).params)
        assert points[0] != points[1]

    def test_brought_trials_take_no_points(self, tmp_path: Path) -> None:
        """Trials of an earlier study are something to learn from, and nothing is left out for them."""
        with record(tmp_path / "earlier", self.searcher, MIXED) as ledger:
            earlier = [trial for trial in lived(ledger, 4) if trial.state is TrialState.COMPLETE]
        with record(tmp_path / "s", self.searcher, MIXED) as ledger:
            assert ledger.bring(earlier, "earlier") == len(earlier) > 0
            first = proposed(ledger)
        assert first.number == len(earlier)
        assert MIXED.holds(first.params)
        if self.searcher.size(MIXED) is not None:
            assert first.params == next(MIXED.grid())

    def test_serves_several_objectives(self, tmp_path: Path) -> None:
        if not self.several:
            return  # nobody gets that far: such a plan is refused
        aims = (ACCURACY, Objective("seconds", "minimize"))
        with record(tmp_path / "s", self.searcher, MIXED, objectives=aims) as ledger:
            assert all(MIXED.holds(trial.params) for trial in lived(ledger, 6))

    def test_names_a_pruner(self) -> None:
        from clearsight.tuning.pruners import PRUNERS

        assert self.searcher.pruner in PRUNERS


@contextmanager
def record(
    path: Path,
    searcher: Searcher,
    space: Space = MIXED,
    *,
    objectives: tuple[Objective, ...] = (ACCURACY,),
    pruner: str = "none",
    **plan: Any,
) -> Iterator[TrialStore]:
    """The record of a new study."""
    planned = StudyPlan(data="/no/data", space=space, objectives=objectives, **{"trials": 1000, **plan})
    ledger = TrialStore(Study.begin(path, planned, Recipe()), searcher, pruner, 10)
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def reopened(path: Path, searcher: Searcher, *, pruner: str = "none") -> Iterator[TrialStore]:
    """The record of a study that is there, as another process would open it. It has the name that it began with."""
    ledger = TrialStore(Study.open(path), searcher, pruner, 10)
    try:
        yield ledger
    finally:
        ledger.close()


def proposed(ledger: TrialStore) -> Trial:
    """The next trial; there is one."""
    trial = ledger.propose()
    assert trial is not None
    return trial


def lived(ledger: TrialStore, count: int) -> list[Trial]:
    """Trials of every end: of seven one is pruned, one has failed and one is under way still."""
    return [_ended(ledger, proposed(ledger)) for _ in range(count)]


def _ended(ledger: TrialStore, trial: Trial) -> Trial:
    value, several = worth(trial.params), len(ledger.study.plan.objectives)
    ledger.epoch(trial.number, 1, value / 2)
    if trial.number % 7 == 3:
        return ledger.trial(trial.number)
    state = {4: TrialState.PRUNED, 5: TrialState.FAILED}.get(trial.number % 7, TrialState.COMPLETE)
    values = (value, 1.0 + trial.number % 3)[:several] if state is TrialState.COMPLETE else ()
    reason = "" if values else "it was not to be"
    return ledger.finish(TrialResult(number=trial.number, state=state, values=values, reason=reason, seconds=1.0))


def worth(params: Params) -> float:
    """Something to maximise: learning rates near 0.003, and sgd."""
    rate, others = float(str(params["lr"])), 0.1 * (params.get("optimizer") == "sgd")
    return 1 / (1 + (rate - 3e-3) ** 2 * 1e4) + others
