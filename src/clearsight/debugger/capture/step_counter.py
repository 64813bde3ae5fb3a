"""Clock: which step and which epoch it is in a loop that says neither."""

from __future__ import annotations


class StepCounter:
    """done: training steps finished.  open: whether one is under way.  per_epoch: steps of an epoch, 0 for not known.

    The epoch is what was told; else it follows from `per_epoch`; else an evaluation ends one.
    """

    def __init__(self, per_epoch: int = 0) -> None:
        self.done, self.open = 0, False
        self._per_epoch, self._epoch, self._told, self._evaluated = per_epoch, 1, False, False

    @property
    def epoch(self) -> int:
        """From 1."""
        return self._epoch

    def tell(self, epoch: int) -> None:
        """It is this epoch, and from now on only what is told counts."""
        self._epoch, self._told = int(epoch), True

    def begin(self) -> int:
        """A training step begins; returns its number."""
        if not self._told and self._per_epoch:
            self._epoch = self.done // self._per_epoch + 1
        elif not self._told and self._evaluated and self.done:
            self._epoch += 1
        self.open, self._evaluated = True, False
        return self.done + 1

    def end(self) -> None:
        """The step is done."""
        self.done, self.open = self.done + 1, False

    def abandon(self) -> None:
        """The step that is under way, if any, will not be done; its number is used again."""
        self.open = False

    def evaluated(self) -> bool:
        """An evaluation step begins; whether it is the first since the last training step."""
        first, self._evaluated = not self._evaluated, True
        return first
