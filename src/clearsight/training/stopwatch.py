"""Stopwatch: what is told where a training step spends its time."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import numpy as np
import numpy.typing as npt


class Stopwatch(Protocol):
    """Told by the loop what it does. Phases may nest: the time of an inner one is not the outer one's.

    Used from the training thread alone. No method raises.
    """

    def phase(self, name: str) -> AbstractContextManager[object]:
        """Within the block the step is in a phase of `core.profile.PHASES`."""
        ...

    def stretch(self, name: str, step: int, epoch: int) -> AbstractContextManager[object]:
        """Within the block something outside of training steps is done, one of `core.profile.STRETCHES`."""
        ...

    def note_images(self, images: npt.NDArray[np.uint8]) -> None:
        """The pictures (N, S, S, 3) of the step under way."""
        ...

    def step(self, step: int, epoch: int, samples: int) -> None:
        """A training step has ended; the next one begins with the first phase after this."""
        ...

    def cut(self) -> None:
        """No step came of what was done since the last one."""
        ...


class NullStopwatch:
    """The stopwatch that measures nothing."""

    def phase(self, name: str) -> AbstractContextManager[object]:
        return _NOTHING

    def stretch(self, name: str, step: int, epoch: int) -> AbstractContextManager[object]:
        return _NOTHING

    def note_images(self, images: npt.NDArray[np.uint8]) -> None:
        """Nothing to see."""

    def step(self, step: int, epoch: int, samples: int) -> None:
        """Nothing to note."""

    def cut(self) -> None:
        """Nothing to forget."""


_NOTHING = nullcontext()
