"""StepWriter: the tensors of one step, written into its event file and its index."""

from __future__ import annotations

import json
import time
from typing import Any, Sequence

import numpy as np

from smdebug.core import layout
from smdebug.core.event_message import SavedEvent, encode_event, encode_file_version, encode_histogram, encode_scalar
from smdebug.core.file_store import FileStore, OutputFile
from smdebug.core.modes import ModeKeys
from smdebug.core.record_file import frame


class StepWriter:
    """Writes the tensors of a global step; `close` completes the event file and then the index.

    Readers go by the index, so they never see a tensor whose bytes are missing. A step that was written before is
    extended: scalars that come late must not replace its tensors.
    """

    def __init__(self, files: FileStore, step: int, worker: str) -> None:
        self.step = step
        self._files, self._worker = files, worker
        self._output: OutputFile | None = None
        self._meta: dict[str, Any] = {}
        self._tensors: list[dict[str, Any]] = []
        self._shapes: list[dict[str, Any]] = []

    def write_tensor(
        self, name: str, value: np.ndarray, mode: ModeKeys, mode_step: int, timestamp: float | None = None
    ) -> None:
        """Append a tensor of any shape. timestamp: seconds since 1970, now by default."""
        event_file = layout.event_file(self.step, self._worker)
        if self._output is None:
            self._load_earlier()
            self._output = self._files.open_output(event_file, append=bool(self._tensors))
        self._describe(mode, mode_step)
        self._meta.setdefault("event_file_name", event_file)
        event = SavedEvent(name, value, self.step, mode, mode_step, timestamp or time.time())
        start, length = self._output.write(frame(encode_event(event)))
        self._tensors.append({"tensorname": name, "start_idx": start, "length": length})

    def write_shape(self, name: str, shape: Sequence[int], mode: ModeKeys, mode_step: int) -> None:
        """Note the shape of a tensor in the index alone."""
        self._describe(mode, mode_step)
        self._shapes.append({"tensorname": name, "originalname": name, "shape": list(shape)})

    def close(self) -> None:
        """Complete the files of the step; a step without tensors has none."""
        if self._output is not None:
            self._output.close()
            self._output = None
        if self._tensors or self._shapes:
            index = {"meta": self._meta, "tensor_payload": self._tensors, "shape_payload": self._shapes}
            self._files.write(layout.index_file(self.step, self._worker), json.dumps(index).encode())

    def _describe(self, mode: ModeKeys, mode_step: int) -> None:
        # The first tensor decides: an index has one mode for all of its tensors.
        self._meta.setdefault("mode", mode.name)
        self._meta.setdefault("mode_step", mode_step)

    def _load_earlier(self) -> None:
        name = layout.index_file(self.step, self._worker)
        if self._files.exists(name):
            index = json.loads(self._files.read(name))
            self._meta, self._tensors = index["meta"], index["tensor_payload"]
            self._shapes = [*index["shape_payload"], *self._shapes]


class TensorBoardWriter:
    """Writes numbers and histograms of one step and mode as TensorBoard reads them."""

    def __init__(self, files: FileStore, step: int, mode: ModeKeys, worker: str) -> None:
        self._step = step
        self._output = files.open_output(layout.tensorboard_file(mode.name, max(step, 0), worker))
        self._output.write(frame(encode_file_version(time.time()), checksum=True))

    def write_scalar(self, name: str, value: float, timestamp: float | None = None) -> None:
        self._output.write(frame(encode_scalar(name, value, self._step, timestamp or time.time()), checksum=True))

    def write_histogram(self, name: str, value: np.ndarray) -> None:
        """Append the histogram of a tensor; one without finite elements is left out."""
        if value.dtype.kind in "fiu" and np.isfinite(value).any():
            self._output.write(frame(encode_histogram(name, value, self._step, time.time()), checksum=True))

    def close(self) -> None:
        self._output.close()
