"""Mirror: a study in memory, written into a storage behind the scenes.

A proposal from a SQLite file costs 20 ms and a finished trial 30 ms, more than a small head takes to train. So the
study is worked on in memory, and a thread of its own copies what has changed, a second later: by then a small head has
ended, and is one transaction instead of one for each of its epochs. What the storage does not know when everything is
killed lies in the trials' folders, and is told again (`ledger.Ledger.take_up`).
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
from clearsight.tuning.storage.optuna_storage import storage_errors_as_ours

_LAG = 1.0  # seconds from a change until it is copied
_ATTRIBUTE = 2_000  # characters; more is not portable between Optuna's databases


class Mirror:
    """Copies trials of one study into a storage in which nobody else writes them; numbers are equal on both sides.

    read: the trial of a number as it is in memory.  Errors of the thread are raised by the next call.
    """

    def __init__(self, url: str, storage: BaseStorage, study_id: int, read: Callable[[int], FrozenTrial]) -> None:
        self._url, self._storage, self._study, self._read = url, storage, study_id, read
        before = storage.get_all_trials(study_id)
        self._written = {trial.number: trial for trial in before}
        self._ids = {
            trial.number: storage.get_trial_id_from_study_id_trial_number(study_id, trial.number) for trial in before
        }
        self._dirty: dict[int, float] = {}  # trial -> when it had changed, the earliest first
        self._changed = threading.Condition()
        self._busy, self._closing, self._hurried = False, False, False
        self._error: BaseException | None = None  # nothing is written any more once there is one
        self._told = False
        self._thread = threading.Thread(target=self._work, name="study mirror", daemon=True)
        self._thread.start()

    def touch(self, number: int) -> None:
        """A trial has changed."""
        with self._changed:
            self._raise()
            if not self._dirty:  # else the thread knows when to look
                self._changed.notify_all()
            self._dirty.setdefault(number, time.monotonic())

    def flush(self) -> None:
        """Return once the storage knows everything."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._error is not None or not (self._dirty or self._busy))
            self._hurried = False
            self._raise()

    def close(self) -> None:
        """Write what is left and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if not self._told:
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            self._told = True
            raise self._error

    def _work(self) -> None:
        while (number := self._next()) is not None:
            try:
                with storage_errors_as_ours(self._url):
                    self._copy(self._read(number))
            except BaseException as error:  # it belongs to whoever calls next
                with self._changed:
                    self._error, self._closing = error, True
                    self._dirty.clear()
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _next(self) -> int | None:
        """The trial that is to be copied, once it is time; None at the end.

        Trials are first touched in the order of their numbers, and so they are created in it.
        """
        with self._changed:
            while (wait := self._wait()) is None or wait > 0:
                if self._closing:
                    return None
                self._changed.wait(wait)
            number = next(iter(self._dirty))
            del self._dirty[number]
            self._busy = True
            return number

    def _wait(self) -> float | None:
        """Seconds until the earliest change is due; None where there is none."""
        if not self._dirty:
            return None
        if self._closing or self._hurried:
            return 0.0
        return next(iter(self._dirty.values())) + _LAG - time.monotonic()

    def _copy(self, now: FrozenTrial) -> None:
        before = self._written.get(now.number)
        if before is None:
            self._create(now)
        else:
            self._update(before, now)
        self._written[now.number] = now

    def _create(self, now: FrozenTrial) -> None:
        template = copy.copy(now)  # `now` is the very trial that is in memory, and its sampler's state stays there
        template.system_attrs = portable(now.system_attrs)
        made = self._storage.create_new_trial(self._study, template_trial=template)
        number = self._storage.get_trial_number_from_id(made)
        if number != now.number:
            raise StudyUnavailable(
                f"--storage {self._url}",
                f"somebody else writes trials of this study (number {number} came where {now.number} was due)",
                fix="Name the storage by --storage, which several may share.",
            )
        self._ids[number] = made

    def _update(self, before: FrozenTrial, now: FrozenTrial) -> None:
        storage, made = self._storage, self._ids[now.number]
        if before.state.is_finished():
            return
        for step, value in now.intermediate_values.items():
            if step not in before.intermediate_values:
                storage.set_trial_intermediate_value(made, step, value)
        for key, value in portable(now.system_attrs).items():  # such as the rungs that a pruner has entered
            if before.system_attrs.get(key) != value:
                storage.set_trial_system_attr(made, key, value)
        for key, value in now.user_attrs.items():
            if before.user_attrs.get(key) != value:
                storage.set_trial_user_attr(made, key, value)
        if now.state.is_finished() or now.state is not before.state:
            storage.set_trial_state_values(made, now.state, now.values)


def portable(attributes: dict[str, Any]) -> dict[str, Any]:
    """System attributes as a storage may hold them: short ones, and none that a sampler would unpickle."""
    return {
        key: value for key, value in attributes.items() if not key.startswith("cma") and len(repr(value)) < _ATTRIBUTE
    }
