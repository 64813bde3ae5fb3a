"""ResumedState: step numbers that survive a restart of the training process, beside its checkpoints.

A training on spot instances starts again from its checkpoint: its steps go on where the newest checkpoint was written.
"""

from __future__ import annotations

import json
import os
from typing import Any

from smdebug.core.environment import checkpoint_folder
from smdebug.core.logger import get_logger
from smdebug.core.modes import ModeKeys
from smdebug.core.step_counter import ModeStepCounter

STATE_FILE = "metadata.json"


class ResumedState:
    """Reads the newest state at the start, and adds one whenever a checkpoint has changed. No checkpoints: no state."""

    def __init__(self) -> None:
        self._folder = checkpoint_folder()
        self._states: list[dict[str, Any]] = self._read()
        self._checkpoints = self._list_checkpoints()
        self._run = self._states[-1]["training-run"] + 1 if self._states else 0

    def restore(self, counter: ModeStepCounter) -> int | None:
        """Let `counter` go on; returns the step that was saved last, None at a first start."""
        if not self._states:
            return None
        state = self._states[-1]
        mode_steps = {ModeKeys[name]: int(step) for name, step in state["latest-mode-step"].items()}
        counter.resume(int(state["latest-global-step-seen"]), mode_steps)
        last_saved: int | None = state["latest-global-step-saved"]
        return last_saved

    def update(self, counter: ModeStepCounter, last_saved_step: int | None) -> None:
        """Write the state where checkpoints have changed since the last call."""
        if self._folder is None:
            return
        checkpoints = self._list_checkpoints()
        if not checkpoints or checkpoints == self._checkpoints:
            return
        self._checkpoints = checkpoints
        self._states.append(
            {
                "training-run": self._run,
                "latest-global-step-saved": last_saved_step,
                "latest-global-step-seen": counter.step,
                "latest-mode-step": {mode.name: step for mode, step in counter.mode_steps.items()},
            }
        )
        path = os.path.join(self._folder, STATE_FILE)
        with open(f"{path}.tmp", "w", encoding="utf-8") as stream:
            json.dump(self._states, stream)
        os.replace(f"{path}.tmp", path)

    def _read(self) -> list[dict[str, Any]]:
        path = os.path.join(self._folder, STATE_FILE) if self._folder else ""
        if not os.path.isfile(path):
            return []
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
        try:
            states: list[dict[str, Any]] = json.loads(text)
            return sorted(states, key=lambda state: int(state["latest-global-step-seen"]))
        except (ValueError, KeyError, TypeError):
            get_logger().warning(f"{path}: not a state that smdebug writes. Steps are counted from 0.")
            return []

    def _list_checkpoints(self) -> list[tuple[str, int]]:
        """Return path and size of each file of the checkpoints."""
        found = []
        for folder, _, names in os.walk(self._folder or os.devnull):
            for name in names:
                path = os.path.join(folder, name)
                if not name.startswith(STATE_FILE) and "sagemaker-uploaded" not in name and os.path.exists(path):
                    found.append((path, os.path.getsize(path)))
        return sorted(found)
