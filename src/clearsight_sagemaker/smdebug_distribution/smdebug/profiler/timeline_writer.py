"""TimelineWriter: phases of the training loop, in the timelines that framework metrics are read from.

A file holds the events of a minute at most, and has the time of the last one in its name:
framework/pevents/2020060500/{end in microseconds}_{process-node}_pythontimeline.json
"""

from __future__ import annotations

import json
import time
from typing import Any

from smdebug.core import environment
from smdebug.core.file_store import LocalFiles

_MAX_EVENTS = 20_000  # of a file: about 3 MB
_MAX_SECONDS = 60.0


class TimelineWriter:
    """Collects events and writes them, a file at a time. folder: None writes nothing."""

    def __init__(self, folder: str | None) -> None:
        self.enabled = folder is not None
        self._config_time = environment.profiler_config_time()
        self._files = LocalFiles(folder or "")
        self._begin = time.time()
        self._phases: dict[str, int] = {}
        self._events: list[dict[str, Any]] = []
        self._end = 0.0

    def follow_config(self) -> None:
        """Take the folder of the job's configuration where UpdateTrainingJob has changed it."""
        changed = environment.profiler_config_time()
        if changed == self._config_time:
            return
        self._config_time = changed
        folder = environment.profiler_folder()
        if folder is None:
            self.flush()
        elif not self.enabled:
            self._files, self._begin = LocalFiles(folder), time.time()
        self.enabled = folder is not None

    def add(self, phase: str, name: str, start: float, end: float, **args: Any) -> None:
        """Add an event. start, end: seconds since 1970. args: what readers show beside it."""
        if not self.enabled:
            return
        number = self._phases.setdefault(phase, len(self._phases) + 1)
        times = {"ts": round((start - self._begin) * 1e6), "dur": round((end - start) * 1e6)}
        self._events.append({"name": name, "pid": number, "ph": "X", **times, "args": args})
        self._end = max(self._end, end)
        if len(self._events) >= _MAX_EVENTS or end - self._begin > _MAX_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the file of the events so far."""
        if not self._events:
            return
        clock = {"start_time_since_epoch_in_micros": round(self._begin * 1e6)}
        header = [{"name": "process_name", "ph": "M", "pid": 0, "args": clock}]
        header += [
            {"name": "process_name", "ph": "M", "pid": number, "args": {"name": phase}}
            for phase, number in self._phases.items()
        ]
        hour = time.strftime("%Y%m%d%H", time.gmtime(self._end))
        file = f"{round(self._end * 1e6)}_{environment.node_name()}_pythontimeline.json"
        self._files.write(f"framework/pevents/{hour}/{file}", json.dumps([*header, *self._events]).encode())
        self._begin, self._events = time.time(), []


class StepTimeline:
    """Times a training loop by its hooks: steps, forward passes, and the modules in them.

    A step lasts from its forward pass to its last gradient: optimizer and data loading are between steps. A module is
    taken to begin when the one before it ended.
    """

    def __init__(self, writer: TimelineWriter) -> None:
        self._writer = writer
        self._step: dict[str, Any] = {}
        self._start = self._last = 0.0
        self._model = ""

    def begin(self, mode: str, mode_step: int, model: str) -> None:
        """Begin a step, and end the one before."""
        self.end()
        self._writer.follow_config()
        if self._writer.enabled:
            self._step = {"mode": mode, "step_num": str(mode_step), "pid": environment.process_number()}
            self._start = self._last = time.time()
            self._model = model

    def module_done(self, name: str) -> None:
        """Add the forward pass of a module, or of the whole model."""
        if not self._step:
            return
        now, args = time.time(), self._args()
        if name == self._model:
            self._writer.add("Forward", name, self._start, now, **args)
        else:
            self._writer.add("Forward-SubModuleInternal", name, self._last, now, **args)
        self._last = now

    def gradient_done(self) -> None:
        """Note that the step still runs."""
        if self._step:
            self._last = time.time()

    def end(self) -> None:
        """End the step that is under way."""
        if self._step:
            name = f"Step:ModeKeys.{self._step['mode']}"
            self._writer.add(name, name, self._start, self._last, **self._args())
            self._step = {}

    def close(self) -> None:
        """End the step, and write what is left."""
        self.end()
        self._writer.flush()

    def _args(self) -> dict[str, Any]:
        return {key: value for key, value in self._step.items() if key != "mode"}
