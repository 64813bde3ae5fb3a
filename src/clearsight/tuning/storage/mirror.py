"""Mirror: copies a study in memory into a storage, in the background.

A proposal from a SQLite file costs 20 ms and a finished trial 30 ms, more than a small head takes to train. So the
study is kept in memory, and a thread copies the changes one second later: by then a small head has ended, and costs one
transaction instead of one per epoch. A kill may lose the last second of the storage, never a trial: the trials' folders
have it, and `trial_store.TrialStore.recover` enters it again.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from clearsight.core.errors import StudyUnavailable
from clearsight.core.secrets import redact
from clearsight.tuning.storage.optuna_storage import translate_storage_errors

_DELAY = 1.0  # seconds from a change to its copy
_ATTRIBUTE = 2_000  # characters; longer values are not portable between the databases that Optuna supports


class Mirror:
    """Copies the trials of one study into a storage in which nobody else writes them; numbers are equal on both sides.

    read: returns the trial of a number from memory.  An error of the thread is raised by the next call.
    """

    def __init__(self, url: str, storage: BaseStorage, study_id: int, read: Callable[[int], FrozenTrial]) -> None:
        self._url, self._storage, self._study_id, self._read = url, storage, study_id, read
        stored = storage.get_all_trials(study_id)
        self._written = {trial.number: trial for trial in stored}
        self._ids = {
            trial.number: storage.get_trial_id_from_study_id_trial_number(study_id, trial.number) for trial in stored
        }
        self._changes: dict[int, float] = {}  # trial -> time of its first change that is not copied, the earliest first
        self._changed = threading.Condition()
        self._busy, self._closing, self._flushing = False, False, False
        self._error: BaseException | None = None  # nothing is written after an error
        self._error_raised = False
        self._thread = threading.Thread(target=self._copy_changes, name="study mirror", daemon=True)
        self._thread.start()

    def touch(self, number: int) -> None:
        """Mark a trial as changed."""
        with self._changed:
            self._raise()
            if not self._changes:  # otherwise the thread already waits for the earliest change
                self._changed.notify_all()
            self._changes.setdefault(number, time.monotonic())

    def flush(self) -> None:
        """Return once the storage has every change."""
        with self._changed:
            self._flushing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._error is not None or not (self._changes or self._busy))
            self._flushing = False
            self._raise()

    def close(self) -> None:
        """Write the remaining changes and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if not self._error_raised:
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            self._error_raised = True
            raise self._error

    def _copy_changes(self) -> None:
        while (number := self._next()) is not None:
            try:
                with translate_storage_errors(self._url):
                    current = self._read(number)
                    if number in self._written:
                        self._update(self._written[number], current)
                    else:
                        self._create(current)
                    self._written[number] = current
            except BaseException as error:  # raised by the next call, on the thread that uses the study
                with self._changed:
                    self._error, self._closing = error, True
                    self._changes.clear()
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _next(self) -> int | None:
        """Wait for a change that is due and return the number of its trial; None at the end.

        Trials are first touched in the order of their numbers, so the storage creates them in that order.
        """
        with self._changed:
            while (wait := self._seconds_to_next()) is None or wait > 0:
                if self._closing:
                    return None
                self._changed.wait(wait)
            number = next(iter(self._changes))
            del self._changes[number]
            self._busy = True
            return number

    def _seconds_to_next(self) -> float | None:
        """Return the seconds until the earliest change is due; None without a change."""
        if not self._changes:
            return None
        if self._closing or self._flushing:
            return 0.0
        return next(iter(self._changes.values())) + _DELAY - time.monotonic()

    def _create(self, current: FrozenTrial) -> None:
        template = copy.copy(current)  # `current` is the trial in memory itself, which keeps its sampler's state
        template.system_attrs = portable(current.system_attrs)
        trial_id = self._storage.create_new_trial(self._study_id, template_trial=template)
        number = self._storage.get_trial_number_from_id(trial_id)
        if number != current.number:
            raise StudyUnavailable(
                f"--storage {redact(self._url)}",
                f"another process writes trials of this study (trial {current.number} was stored as {number})",
                fix="Use --storage with the URL of a storage that several processes may share.",
            )
        self._ids[number] = trial_id

    def _update(self, before: FrozenTrial, current: FrozenTrial) -> None:
        storage, trial_id = self._storage, self._ids[current.number]
        if before.state.is_finished():
            return
        for step, value in current.intermediate_values.items():
            if step not in before.intermediate_values:
                storage.set_trial_intermediate_value(trial_id, step, value)
        for key, value in portable(current.system_attrs).items():  # such as the rungs of a pruner
            if before.system_attrs.get(key) != value:
                storage.set_trial_system_attr(trial_id, key, value)
        for key, value in current.user_attrs.items():
            if before.user_attrs.get(key) != value:
                storage.set_trial_user_attr(trial_id, key, value)
        # Last, because a storage refuses changes to a finished trial.
        if current.state.is_finished() or current.state is not before.state:
            storage.set_trial_state_values(trial_id, current.state, current.values)


def portable(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the system attributes that a storage may hold: short ones, and none that a sampler would unpickle."""
    return {
        key: value for key, value in attributes.items() if not key.startswith("cma") and len(repr(value)) < _ATTRIBUTE
    }
