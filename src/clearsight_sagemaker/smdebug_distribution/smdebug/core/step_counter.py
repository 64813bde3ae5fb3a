"""ModeStepCounter: which step it is. A step is a forward pass of the registered module, in whatever mode."""

from __future__ import annotations

from smdebug.core.modes import ModeKeys
from smdebug.exceptions import SMDebugValueError


class ModeStepCounter:
    """Counts forward passes, in all and per mode; -1 before the first."""

    def __init__(self) -> None:
        self.first = -1
        self.step = -1
        self.mode = ModeKeys.GLOBAL
        self.mode_steps: dict[ModeKeys, int] = {ModeKeys.GLOBAL: -1}
        # Mode and step of the newest forward pass, whatever the mode is now.
        self.newest: tuple[ModeKeys, int] = (ModeKeys.GLOBAL, -1)

    @property
    def mode_step(self) -> int:
        """Step of the present mode."""
        return self.mode_steps[self.mode]

    def advance(self) -> None:
        """Count a forward pass of the present mode."""
        self.step += 1
        self.mode_steps[self.mode] += 1
        self.mode_steps[ModeKeys.GLOBAL] = self.step
        self.newest = (self.mode, self.mode_step)

    def set_mode(self, mode: ModeKeys) -> None:
        """Set the mode of the forward passes that come. Raises SMDebugValueError."""
        if not isinstance(mode, ModeKeys):
            allowed = ", ".join(f"modes.{known.name}" for known in ModeKeys)
            raise SMDebugValueError(f"set_mode({mode!r}): there is no such mode. Allowed: {allowed}.")
        self.mode = mode
        self.mode_steps.setdefault(mode, self.first)

    def resume(self, step: int, mode_steps: dict[ModeKeys, int]) -> None:
        """Go on counting after the steps of an earlier process."""
        self.first = self.step = step
        self.mode_steps = {**mode_steps, ModeKeys.GLOBAL: step}
