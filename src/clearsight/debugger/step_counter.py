"""StepCounter: step, epoch and mode of a training loop that does not report them; Succession: of its optimizers."""

from __future__ import annotations

import weakref

from torch.optim import Optimizer

from clearsight.core.tensors import Mode


class StepCounter:
    """Counts the steps of an external loop.

    done: training steps finished.  open: True while one is under way.  epoch: from 1; the one that the user sets, else
    it follows from `per_epoch` (steps of an epoch, 0 for not known), else from
    `loader_epoch`, else an evaluation ends one.
    forced_mode: the mode that the user has set; None to ask the model.  loader_epoch: that of the training
    DataLoader, 0 where none is known.
    """

    def __init__(self, per_epoch: int = 0) -> None:
        self.done, self.open = 0, False
        self.forced_mode: Mode | None = None
        self.epoch, self.loader_epoch = 1, 0
        self._per_epoch, self._is_set, self._evaluated = per_epoch, False, False

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; from now on nothing else changes it."""
        self.epoch, self._is_set = int(epoch), True

    def begin(self) -> int:
        """Begin a training step; returns its number, from 1."""
        if not self._is_set and self._per_epoch:
            self.epoch = self.done // self._per_epoch + 1
        elif not self._is_set and self.loader_epoch:
            self.epoch = self.loader_epoch
        # `done`: an evaluation before the first step, as trainers make to check themselves, ends no epoch.
        elif not self._is_set and self._evaluated and self.done:
            self.epoch += 1
        self.open, self._evaluated = True, False
        return self.done + 1

    def end(self) -> None:
        """End the training step under way."""
        self.done, self.open = self.done + 1, False

    def abandon(self) -> None:
        """Give up the step under way, if any; its number is used again."""
        self.open = False

    def begin_evaluation(self) -> bool:
        """Begin an evaluation step; returns True for the first since the last training step."""
        # Several evaluations without a training step between them belong to one epoch.
        is_first, self._evaluated = not self._evaluated, True
        return is_first


class Succession:
    """Notices that another optimizer has taken the place of the watched one.

    It must step twice in a row: optimizers that take turns within a step, and those that are made anew for each
    batch, do not.
    """

    def __init__(self) -> None:
        self._candidate: weakref.ref[Optimizer] | None = None

    def stepped(self) -> None:
        """Note a step of the watched optimizer."""
        self._candidate = None

    def takes_over(self, optimizer: Optimizer) -> bool:
        """Note a step of another optimizer; return True if the step before was its own too."""
        again = self._candidate is not None and self._candidate() is optimizer
        self._candidate = None if again else weakref.ref(optimizer)
        return again
