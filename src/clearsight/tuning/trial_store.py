"""Ledger: the record of a study. Points are proposed from it, epochs and outcomes are entered into it.

Two kinds of studies keep theirs in Optuna's words, so that its samplers, pruners and dashboard read it:

- its own: in memory, mirrored into study.db by a thread; this process is the only one that writes;
- shared: in a storage named by its URL, to which several machines write at once.

Used by one thread.
"""

from __future__ import annotations

import fcntl
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Any

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import TrialState as OptunaState

from clearsight.core.errors import NotFound, StudyUnavailable
from clearsight.core.study import Searcher, Study
from clearsight.core.trial import Trial, TrialResult, TrialState
from clearsight.tuning.pruners import build_pruner
from clearsight.tuning.samplers import PerTrialSampler
from clearsight.tuning.storage.conversion import attributes, distribution_of, state_of, trial_of
from clearsight.tuning.storage.mirror import Mirror, portable
from clearsight.tuning.storage.optuna_storage import (
    file_url,
    open_storage,
    quiet_optuna,
    storage_errors_as_ours,
    without_password,
)
from clearsight.tuning.storage.trial_folder import TrialFolder, numbers

_IN_MEMORY = "study"  # Hyperband's brackets follow from the name, and must not follow from a folder's


class TrialStore:
    """The record of one study that is worked on."""

    def __init__(self, study: Study, searcher: Searcher, pruner: str, epochs: int) -> None:
        """Open or begin the record.  pruner: its name.  epochs: the most that a trial trains.

        Raises StudyUnavailable where the storage is locked or does not answer.
        """
        self.study, self._searcher = study, searcher
        self._shared = bool(study.plan.storage)
        self._url = study.plan.storage or file_url(study.path / "study.db")
        self._mirror: Mirror | None = None
        with storage_errors_as_ours(self._url), quiet_optuna():
            self._storage = open_storage(self._url)
            kept = _opened(self._storage, study)
            self._optuna = kept if self._shared else _in_memory(kept)
            self._optuna.pruner = build_pruner(pruner, epochs)
            self._prunes = pruner != "none" and len(study.plan.objectives) == 1
            if not self._shared:
                self._mirror = Mirror(self._url, self._storage, kept._study_id, self._frozen)

    @property
    def prunes(self) -> bool:
        """Whether epochs are worth telling one by one."""
        return self._prunes

    def trials(self) -> list[Trial]:
        """All trials there are, in order."""
        with storage_errors_as_ours(self._url):
            return [trial_of(one) for one in self._optuna.get_trials(deepcopy=False)]

    def trial(self, number: int) -> Trial:
        """One trial."""
        return trial_of(self._frozen(number))

    def propose(self) -> Trial | None:
        """A new trial at the next point; None where every point was proposed."""
        with storage_errors_as_ours(self._url), _no_warnings():
            before = self._optuna.get_trials(deepcopy=False)
            brought = sum("source" in one.user_attrs for one in before)  # they take numbers, but no points
            size = self._searcher.size(self.study.plan.space)
            if size is not None and len(before) - brought >= size:
                return None
            self._optuna.sampler = PerTrialSampler(lambda number: self._sampler(number - brought))
            asked = self._optuna.ask()
            params: dict[str, Any] = {}
            for dimension in self.study.plan.space.dimensions:
                if dimension.name not in params and dimension.applies(params):
                    params[dimension.name] = asked._suggest(dimension.name, distribution_of(dimension.domain))
        self.folder(asked.number).clear()
        self.folder(asked.number).propose(params)
        self._touch(asked.number)
        return self.trial(asked.number)

    def epoch(self, number: int, epoch: int, value: float) -> str:
        """Enter an epoch's first objective; returns why the trial is not worth going on with, or ""."""
        with storage_errors_as_ours(self._url):
            if not self._enter(number, {epoch: value}):
                return ""
            behind = (
                self._prunes and math.isfinite(value) and self._optuna.pruner.prune(self._optuna, self._frozen(number))
            )
            self._touch(number)  # also what the pruner has noted
            if not behind:
                return ""
        return f"{self.study.aim.metric} {value:.4g} after epoch {epoch} is behind the others"

    def note(self, number: int, **facts: Any) -> None:
        """Keep facts of a trial that is under way, by their names in Trial."""
        with storage_errors_as_ours(self._url):
            for name, value in attributes(facts).items():
                self._storing.set_trial_user_attr(self._id(number), name, value)
        self._touch(number)

    def finish(self, outcome: TrialResult, **facts: Any) -> Trial:
        """Enter what came of a trial; returns it as it stands now."""
        metric = self.study.aim.metric
        state, values, reason = outcome.state, outcome.values, outcome.reason
        if state is TrialState.COMPLETE and not all(map(math.isfinite, values)):
            state, reason = TrialState.FAILED, f"an objective is no number ({', '.join(map(str, values))})"
        kept = {
            "scores": outcome.scores,
            "reason": reason,
            "started": outcome.started,
            "seconds": outcome.seconds,
            "best_epoch": outcome.best_epoch,
            "spared_seconds": outcome.spared_seconds,
        }
        if metric in ("accuracy", "macro_f1", "roc_auc", "loss"):
            self._enter(outcome.number, {e: s[metric] for e, s in outcome.curve.items() if metric in s})
        self.note(outcome.number, **{**kept, **facts})
        with storage_errors_as_ours(self._url), _no_warnings():
            told = values if state is TrialState.COMPLETE else None
            self._optuna.tell(outcome.number, told, state=state_of(state))
        self._touch(outcome.number)
        return self.trial(outcome.number)

    def take_up(self) -> list[Trial]:
        """What an earlier process left, set right: outcomes that nobody was told are entered, points that were proposed
        without the storage knowing are in it. Returns the trials that are under way and belong to this folder."""
        known = {trial.number: trial for trial in self.trials()}
        for number in numbers(self.study.path / "trials"):
            folder = self.folder(number)
            kept = folder.proposed()
            if kept is None:
                continue
            if number not in known and not self._shared and number == len(known):
                known[number] = self._adopt(kept[0])
            if number in known and known[number].state is TrialState.RUNNING and (outcome := folder.outcome()):
                known[number] = self.finish(outcome)
        running = [trial for trial in known.values() if trial.state is TrialState.RUNNING]
        return [replace(trial, attempts=kept[1]) for trial in running if (kept := self.folder(trial.number).proposed())]

    def bring(self, trials: Sequence[Trial], source: str) -> int:
        """Enter the finished trials of an earlier study that lie in the space, but for those that were entered before
        a kill; returns how many are entered."""
        before = sum(trial.source == source for trial in self.trials())
        fitting = [trial for trial in trials if self._can_bring(trial)][before:]
        for trial in fitting:
            kept = {"source": source, "seconds": trial.seconds, "scores": trial.scores, "reason": trial.reason}
            self._add(trial.params, state_of(trial.state), trial.values, trial.curve, attributes(kept))
        self.flush()  # numbers go on behind them: no trial of our own may be known to a storage that lacks these
        return len(fitting)

    def folder(self, number: int) -> TrialFolder:
        """What lies on disk of a trial."""
        return TrialFolder(self.study.folder(number))

    def optuna_study(self) -> optuna.Study:
        """The record as Optuna has it, for its own evaluators."""
        return self._optuna

    def close(self) -> None:
        """Write what is left."""
        if self._mirror is not None:
            self._mirror.close()

    def flush(self) -> None:
        """Return once the storage knows everything."""
        if self._mirror is not None:
            self._mirror.flush()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _sampler(self, place: int) -> BaseSampler:
        made: BaseSampler = self._searcher.sampler(self.study.plan.space, self.study.plan.seed, place)
        return made

    @property
    def _storing(self) -> BaseStorage:
        return self._optuna._storage

    def _id(self, number: int) -> int:
        return self._storing.get_trial_id_from_study_id_trial_number(self._optuna._study_id, number)

    def _frozen(self, number: int) -> optuna.trial.FrozenTrial:
        return self._storing.get_trial(self._id(number))

    def _touch(self, number: int) -> None:
        if self._mirror is not None:
            self._mirror.touch(number)

    def _enter(self, number: int, values: Mapping[int, float]) -> bool:
        """Enter epochs that are not there yet; False where there was none."""
        made = self._id(number)
        there = self._storing.get_trial(made).intermediate_values
        new = {epoch: value for epoch, value in values.items() if epoch not in there}
        for epoch, value in new.items():
            self._storing.set_trial_intermediate_value(made, epoch, value)
        return bool(new)

    def _can_bring(self, trial: Trial) -> bool:
        """Whether an earlier study's trial says something here."""
        if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED) or trial.source:
            return False
        if trial.state is TrialState.COMPLETE and len(trial.values) != len(self.study.plan.objectives):
            return False
        return self.study.plan.space.holds(trial.params)

    def _adopt(self, params: Mapping[str, Any]) -> Trial:
        number = self._add(params, OptunaState.RUNNING, (), {}, {})
        return self.trial(number)

    def _add(
        self,
        params: Mapping[str, Any],
        state: OptunaState,
        values: Sequence[float],
        curve: Mapping[int, float],
        facts: Mapping[str, Any],
    ) -> int:
        found: dict[str, Any] = {}
        distributions = {}
        for dimension in self.study.plan.space.dimensions:
            if dimension.name not in found and dimension.applies(found):
                found[dimension.name] = params[dimension.name]
                distributions[dimension.name] = distribution_of(dimension.domain)
        number = len(self._optuna.get_trials(deepcopy=False))
        made = optuna.trial.create_trial(
            state=state,
            values=list(values) or None,
            params=found,
            distributions=distributions,
            intermediate_values=dict(curve),
            user_attrs=dict(facts),
        )
        with storage_errors_as_ours(self._url):
            self._optuna.add_trial(made)
        self._touch(number)
        return number


@contextmanager
def lock_study(study: Study) -> Iterator[None]:
    """Within the block nobody else works on the study's folder; raises StudyUnavailable where somebody does."""
    lock: IO[str] = (study.path / "study.lock").open("a+")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyUnavailable(
                str(study.path), "another process works on this study", fix="Wait for it, or end it first."
            ) from None
        yield


def read_trials(study: Study) -> list[Trial]:
    """The trials of a study as its storage has them, while it goes on or after."""
    url = study.plan.storage or file_url(study.path / "study.db")
    if not study.plan.storage and not (study.path / "study.db").is_file():
        return []
    with storage_errors_as_ours(url), quiet_optuna():
        return [trial_of(one) for one in _opened(open_storage(url), study).get_trials(deepcopy=False)]


def stored_trials(url: str, name: str) -> list[Trial]:
    """The trials of the study `name` in any storage; "" for the only one there. Raises NotFound."""
    with storage_errors_as_ours(url), quiet_optuna():
        storage = open_storage(url)
        there = [one.study_name for one in storage.get_all_studies()]
        if not name and len(there) == 1:
            name = there[0]
        if name not in there:
            what = f"{without_password(url)} {name}".strip()
            raise NotFound(what, f"there is no such study; there are {', '.join(there) or 'none'}")
        return [trial_of(one) for one in optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)]


def _opened(storage: BaseStorage, study: Study) -> optuna.Study:
    with _no_warnings():
        there = study.name in (one.study_name for one in storage.get_all_studies())
        kept = optuna.create_study(
            storage=storage,
            study_name=study.name,
            directions=[objective.direction for objective in study.plan.objectives],
            load_if_exists=True,
        )
        if not there:
            kept.set_metric_names([objective.metric for objective in study.plan.objectives])
    return kept


def _in_memory(kept: optuna.Study) -> optuna.Study:
    """The same study in memory, without what a sampler would have to unpickle."""
    memory = optuna.create_study(study_name=_IN_MEMORY, directions=kept.directions)
    for trial in kept.get_trials(deepcopy=True):
        trial.system_attrs = portable(trial.system_attrs)
        memory.add_trial(trial)
    return memory


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Optuna tells of parts that may still change; whoever tunes has not chosen them."""
    with warnings.catch_warnings(), quiet_optuna():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
