"""TrialStore: the record of a study. It proposes trials, and keeps their epochs and results.

The record of a study is an Optuna study, so that Optuna's samplers, pruners and dashboard can read it:

- by default in memory, mirrored into study.db by a thread; this process is the only writer;
- shared: in a storage named by a URL, to which several machines write at once.

Used by one thread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import optuna
from optuna.storages import BaseStorage

from clearsight.core.errors import NotFound
from clearsight.core.secrets import redact
from clearsight.core.stop import StopKind
from clearsight.core.study import Searcher, Study
from clearsight.core.trial import SCORES, Trial, TrialResult, TrialState, pareto_front, rank
from clearsight.tuning.proposal import ask
from clearsight.tuning.pruners import build_pruner
from clearsight.tuning.storage.conversion import (
    distribution_of,
    drawn_dimensions,
    state_to_optuna,
    trial_attributes,
    trial_from_optuna,
)
from clearsight.tuning.storage.mirror import Mirror, portable
from clearsight.tuning.storage.optuna_storage import (
    DATABASE,
    file_url,
    open_storage,
    quiet_optuna,
    translate_storage_errors,
)
from clearsight.tuning.storage.trial_folder import TrialFolder, trial_numbers

_OF_OPTUNA = ("number", "state", "params", "values", "curve")  # fields of a trial that Optuna's trials have
_IN_MEMORY = "study"  # Hyperband assigns brackets by the study's name, which must not depend on the name of a folder


class TrialStore:
    """The record of a study that is being worked on.

    optuna_study: the record as Optuna has it.  prunes: a pruner decides after each epoch whether the trial continues.
    """

    def __init__(self, study: Study, searcher: Searcher, pruner: str, epochs: int) -> None:
        """Open the record, or begin it.  pruner: its name.  epochs: the most that a trial trains.

        Raises StudyUnavailable if the storage is locked or does not answer.
        """
        self.study, self._searcher = study, searcher
        self._shared = bool(study.plan.storage)
        self._url = study.plan.storage or file_url(study.path / DATABASE)
        self._mirror: Mirror | None = None
        self._without_weights: set[int] = set()
        with translate_storage_errors(self._url), quiet_optuna():
            storage = open_storage(self._url)
            stored = _open_study(storage, study)
            self.optuna_study = stored if self._shared else _copy_to_memory(stored)
            self.optuna_study.pruner = build_pruner(pruner, epochs)
            # With several objectives no single value says which trial is worse.
            self.prunes = pruner != "none" and len(study.plan.objectives) == 1
            if not self._shared:
                self._mirror = Mirror(self._url, storage, stored._study_id, self._frozen)

    def trials(self) -> list[Trial]:
        """Return all trials, in order."""
        with translate_storage_errors(self._url):
            return [trial_from_optuna(frozen) for frozen in self.optuna_study.get_trials(deepcopy=False)]

    def trial(self, number: int) -> Trial:
        """Return one trial."""
        return trial_from_optuna(self._frozen(number))

    def propose(self) -> Trial | None:
        """Return a new trial with the next values; None once every combination has been proposed."""
        plan = self.study.plan
        with translate_storage_errors(self._url), quiet_optuna():
            proposal = ask(self.optuna_study, plan.space, self._searcher, plan.seed)
        if proposal is None:
            return None
        self.folder(proposal.number).clear()  # left by a trial of a storage that was lost
        self.folder(proposal.number).write_proposal(proposal.params)
        self._touch(proposal.number)
        return self.trial(proposal.number)

    def report_epoch(self, number: int, epoch: int, value: float) -> str:
        """Record the first objective of an epoch; returns why the trial should end, or "" to continue."""
        with translate_storage_errors(self._url):
            if not self._add_epochs(number, {epoch: value}):
                return ""  # a trial that was tried again: the pruner has judged this epoch before
            # A NaN is left to the worker, which ends the trial with a better reason.
            study = self.optuna_study
            pruned = self.prunes and math.isfinite(value) and study.pruner.prune(study, self._frozen(number))
            self._touch(number)  # the pruner may have added attributes of its own, such as rungs
            if not pruned:
                return ""
        metric = self.study.objective.metric
        return f"{metric} {value:.4g} after epoch {epoch} is worse than that of the other trials"

    def update(self, number: int, **fields: Any) -> None:
        """Record fields of a running trial, by their names in Trial."""
        with translate_storage_errors(self._url):
            for name, value in trial_attributes(fields).items():
                self._backend.set_trial_user_attr(self._trial_id(number), name, value)
        self._touch(number)

    def finish(self, result: TrialResult, **fields: Any) -> Trial:
        """Record the result of a trial, with further fields of Trial; returns the trial."""
        metric = self.study.objective.metric
        state, reason, kind = result.state, result.reason, result.stop_kind
        if state is TrialState.COMPLETE and not all(map(math.isfinite, result.values)):
            state, kind = TrialState.FAILED, StopKind.FAILURE
            reason = f"an objective is not a finite number ({', '.join(map(str, result.values))})"
        copied = ("scores", "reason", "stop_kind", "started", "seconds", "best_epoch", "saved_seconds")
        attributes = {name: getattr(result, name) for name in copied} | {"reason": reason, "stop_kind": kind}
        if metric in SCORES:
            self._add_epochs(result.number, {e: s[metric] for e, s in result.curve.items() if metric in s})
        # Before `tell`, because a storage refuses changes to a finished trial.
        self.update(result.number, **(attributes | fields))
        with translate_storage_errors(self._url), quiet_optuna():
            values = result.values if state is TrialState.COMPLETE else None
            self.optuna_study.tell(result.number, values, state=state_to_optuna(state))
        self._touch(result.number)
        return self.trial(result.number)

    def recover(self) -> list[Trial]:
        """Bring the record up to date with the trials' folders, after a kill.

        Results that were never reported are entered, and so are proposals that the storage does not have. Returns the
        running trials of this folder, with their attempts.
        """
        known = {trial.number: trial for trial in self.trials()}
        for number in trial_numbers(self.study.path / "trials"):
            folder = self.folder(number)
            proposal = folder.proposal()
            if proposal is None:
                continue
            # Numbers must have no gaps; and a shared storage has the proposal already, since it is written first there.
            if number not in known and not self._shared and number == len(known):
                self._add_trial(Trial(number=number, state=TrialState.RUNNING, params=proposal[0]))
                known[number] = self.trial(number)
            if number in known and known[number].state is TrialState.RUNNING and (result := folder.result()):
                known[number] = self.finish(result)
        running = [trial for trial in known.values() if trial.state is TrialState.RUNNING]
        # In a shared storage some of the running trials belong to other machines: those have no folder here.
        proposals = [(trial, self.folder(trial.number).proposal()) for trial in running]
        return [replace(trial, attempts=proposal[1]) for trial, proposal in proposals if proposal is not None]

    def import_trials(self, trials: Sequence[Trial], source: str) -> int:
        """Add the finished trials of an earlier study that lie in the space; returns their number.

        Trials of this source that were added before a kill are not added again.
        """
        present = sum(trial.source == source for trial in self.trials())
        fitting = [trial for trial in trials if self._can_import(trial)][present:]
        for trial in fitting:
            facts = {name: getattr(trial, name) for name in ("seconds", "scores", "reason", "stop_kind")}
            self._add_trial(trial, source=source, **facts)
        # Trials of this study get the numbers after them: the storage must never have one without the imported ones.
        self.flush()
        return len(fitting)

    def add(self, trial: Trial) -> None:
        """Add a trial that was run elsewhere, under the next number, with everything that is known about it."""
        attributes = (field.name for field in fields(trial) if field.name not in _OF_OPTUNA)
        self._add_trial(trial, **{name: getattr(trial, name) for name in attributes})

    def delete_weights(self) -> None:
        """Delete the weights of the trials that have ended, except those of the best ones; their scores stay.

        A network's checkpoints take tens of megabytes, and a study has dozens of trials. The plan says how many of the
        best trials keep theirs; with several objectives those of the Pareto front keep them too.
        """
        trials, plan = self.trials(), self.study.plan
        ranked = rank(trials, plan.objectives[0])
        # A trial that shares a result has no weights of its own: the weights are those of the trial that was trained.
        retained = {trial.number if trial.same_as is None else trial.same_as for trial in ranked[: plan.keep]}
        if len(plan.objectives) > 1:
            retained |= {trial.number for trial in pareto_front(trials, plan.objectives)}
        ended = {t.number for t in trials if not t.imported and t.state is not TrialState.RUNNING}
        for number in ended - retained - self._without_weights:
            self.folder(number).delete_weights()
            self._without_weights.add(number)

    def folder(self, number: int) -> TrialFolder:
        """Return the folder of a trial."""
        return TrialFolder(self.study.folder(number))

    def close(self) -> None:
        """Write the remaining changes into the storage."""
        if self._mirror is not None:
            self._mirror.close()

    def flush(self) -> None:
        """Return once the storage has every change."""
        if self._mirror is not None:
            self._mirror.flush()

    @property
    def _backend(self) -> BaseStorage:
        """The storage behind the Optuna study: in memory, or the shared one."""
        return self.optuna_study._storage

    def _trial_id(self, number: int) -> int:
        return self._backend.get_trial_id_from_study_id_trial_number(self.optuna_study._study_id, number)

    def _frozen(self, number: int) -> optuna.trial.FrozenTrial:
        return self._backend.get_trial(self._trial_id(number))

    def _touch(self, number: int) -> None:
        if self._mirror is not None:
            self._mirror.touch(number)

    def _add_epochs(self, number: int, values: Mapping[int, float]) -> bool:
        """Record epochs that the trial does not have yet; returns False if it had all of them."""
        trial_id = self._trial_id(number)
        recorded = self._backend.get_trial(trial_id).intermediate_values
        new = {epoch: value for epoch, value in values.items() if epoch not in recorded}
        for epoch, value in new.items():
            self._backend.set_trial_intermediate_value(trial_id, epoch, value)
        return bool(new)

    def _can_import(self, trial: Trial) -> bool:
        """Return True for a finished trial of an earlier study that fits this one's space and objectives."""
        if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED) or trial.imported:
            return False
        if trial.state is TrialState.COMPLETE and len(trial.values) != len(self.study.plan.objectives):
            return False
        return self.study.plan.space.contains(trial.params)

    def _add_trial(self, trial: Trial, **fields: Any) -> None:
        """Add a trial that was proposed elsewhere or earlier, with some of its fields, under the next number."""
        dimensions = list(drawn_dimensions(self.study.plan.space, trial.params))
        added = optuna.trial.create_trial(
            state=state_to_optuna(trial.state),
            values=list(trial.values) or None,
            params={dimension.name: trial.params[dimension.name] for dimension in dimensions},
            distributions={dimension.name: distribution_of(dimension.domain) for dimension in dimensions},
            intermediate_values=dict(trial.curve),
            user_attrs=trial_attributes(fields),
        )
        number = len(self.optuna_study.get_trials(deepcopy=False))
        with translate_storage_errors(self._url):
            self.optuna_study.add_trial(added)
        self._touch(number)


def read_trials(study: Study) -> list[Trial]:
    """Return the trials of a study from its storage, also while the study runs."""
    url, database = study.plan.storage, study.path / DATABASE
    if not url and not database.is_file():
        return []
    url = url or file_url(database)
    with translate_storage_errors(url), quiet_optuna():
        stored = _open_study(open_storage(url), study)
        return [trial_from_optuna(frozen) for frozen in stored.get_trials(deepcopy=False)]


def stored_trials(url: str, name: str) -> list[Trial]:
    """Return the trials of the study `name` in any storage; "" for the only study there. Raises NotFound."""
    with translate_storage_errors(url), quiet_optuna():
        storage = open_storage(url)
        names = [study.study_name for study in storage.get_all_studies()]
        if not name and len(names) == 1:
            name = names[0]
        if name not in names:
            subject = f"{redact(url)} {name}".strip()
            raise NotFound(subject, f"no such study in this storage; it has {', '.join(names) or 'none'}")
        stored = optuna.load_study(study_name=name, storage=storage)
        return [trial_from_optuna(frozen) for frozen in stored.get_trials(deepcopy=False)]


def _open_study(storage: BaseStorage, study: Study) -> optuna.Study:
    """Open the study in a storage, or create it."""
    with quiet_optuna():
        exists = study.name in (stored.study_name for stored in storage.get_all_studies())
        opened = optuna.create_study(
            storage=storage,
            study_name=study.name,
            directions=[objective.direction for objective in study.plan.objectives],
            load_if_exists=True,
        )
        if not exists:
            opened.set_metric_names([objective.metric for objective in study.plan.objectives])
    return opened


def _copy_to_memory(stored: optuna.Study) -> optuna.Study:
    """Return a copy of the study in memory, without attributes that a sampler would unpickle."""
    memory = optuna.create_study(study_name=_IN_MEMORY, directions=stored.directions)
    for trial in stored.get_trials(deepcopy=True):
        trial.system_attrs = portable(trial.system_attrs)
        memory.add_trial(trial)
    return memory
