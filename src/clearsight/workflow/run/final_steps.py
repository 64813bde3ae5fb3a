"""FinalSteps: the steps after a training, none of which may take its result along when it fails."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from clearsight.core.errors import ClearsightError, DiskFull
from clearsight.core.events import FailedStep, StepName
from clearsight.core.files import disk_full_as_error
from clearsight.core.guard import Guard, error_text
from clearsight.core.run import Resumable

P = ParamSpec("P")
T = TypeVar("T")

# Commands that repeat a step from what is on disk; every other step is repeated by resuming the run.
_COMMANDS: dict[StepName, str] = {"verdicts": "clearsight debug", "report": "clearsight report"}
_RESUME = "clearsight train --resume"


@dataclass(frozen=True)
class FinalSteps:
    """Runs the steps after the training of a run or the trials of a study; `announce` receives those that failed."""

    work: Resumable[Any]
    announce: Callable[[FailedStep], None]

    def __call__(self, step: StepName, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return the result of a step; None where it failed, which is then in `failed_steps` of the work and announced.

        Raises DiskFull, since the steps after it could write nothing either; KeyboardInterrupt passes through.
        """
        # Whatever the error is, it must not cost the training that came before it.
        guard = Guard(step, report=lambda sentence: None)
        result = guard.run(lambda: self._without_full_disk(action, *args, **kwargs))
        if isinstance(guard.failure, DiskFull):
            raise guard.failure
        if guard.failure is not None:
            self._failed(step, guard.failure)
        return result

    def _without_full_disk(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        with disk_full_as_error(self.work.path):
            return action(*args, **kwargs)

    def _failed(self, step: StepName, error: Exception) -> None:
        ours = not isinstance(error, ClearsightError)
        problem = " ".join((error_text(error) if ours else str(error)).split())
        command = f"{_COMMANDS.get(step, _RESUME)} {self.work.path}"
        lines = traceback.format_exception(error) if ours else []
        failed = FailedStep(step=step, problem=problem, command=command, traceback="".join(lines))
        self.work.failed_steps.append(failed.to_json())
        self.announce(failed)
