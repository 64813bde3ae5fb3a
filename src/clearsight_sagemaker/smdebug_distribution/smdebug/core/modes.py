"""ModeKeys: the modes in which steps are counted.

GLOBAL counts every forward pass; TRAIN, EVAL and PREDICT count those made in that mode. A hook whose script never calls
`set_mode` counts GLOBAL steps alone.
"""

from __future__ import annotations

from enum import Enum


class ModeKeys(Enum):
    """Mode of a step, with the numbers that the files hold."""

    TRAIN = 1
    EVAL = 2
    PREDICT = 3
    GLOBAL = 4

    @property
    def prefix(self) -> str:
        """Prefix of the mode's settings in a JSON configuration, such as `train.`."""
        return f"{self.name.lower()}."


ALLOWED_MODES = list(ModeKeys)
ALLOWED_MODE_NAMES = [mode.name for mode in ModeKeys]

# Names of the entries of an event that hold the step and the mode.
MODE_STEP_PLUGIN_NAME = "mode_step"
MODE_PLUGIN_NAME = "mode"


def str_to_mode_keys(mode_str: str) -> ModeKeys:
    """Return the mode of `train`, `eval`, `predict` or `global`. Raises ValueError."""
    for mode in ModeKeys:
        if mode_str == mode.name.lower():
            return mode
    allowed = ", ".join(mode.name.lower() for mode in ModeKeys)
    raise ValueError(f"mode {mode_str!r}: there is no such mode. Allowed: {allowed}.")
