"""StepOutput: the files of a hook: one writer for the present step, and TensorBoard's beside it."""

from __future__ import annotations

import os
import socket
from typing import Any, Sequence

import numpy as np

from smdebug.core import layout
from smdebug.core.collection import SCALAR_COLLECTIONS, Collection
from smdebug.core.environment import is_in_job
from smdebug.core.file_store import FileStore, LocalFiles, is_s3, open_files
from smdebug.core.logger import get_logger
from smdebug.core.modes import ModeKeys
from smdebug.core.step_counter import ModeStepCounter
from smdebug.core.step_writer import StepWriter, TensorBoardWriter
from smdebug.exceptions import SMDebugRuntimeError


class StepOutput:
    """Writes what a hook saves at the present step.

    Of several workers, worker_0 writes alone, or each where `all_workers` is set. Of several processes that do not
    know of each other (no torch.distributed), the first that writes claims the folder.
    tensorboard_dir: None writes nothing for TensorBoard.  Raises SMDebugRuntimeError for the folder of a finished
    training.
    """

    def __init__(self, out_dir: str, tensorboard_dir: str | None, *, all_workers: bool, dry_run: bool) -> None:
        self.files: FileStore = open_files(out_dir)
        if self.files.exists(layout.END_OF_TRAINING):
            raise SMDebugRuntimeError(
                f"The path:{out_dir} already exists: it holds a finished training. Choose a folder that does not exist."
            )
        self.tensorboard_dir = tensorboard_dir
        self.worker, self.num_workers = layout.DEFAULT_WORKER, 1
        self.writer: StepWriter | None = None
        self.claimed: bool | None = None
        self._all_workers, self._dry_run = all_workers, dry_run
        self._boards: dict[ModeKeys, TensorBoardWriter] = {}

    @property
    def writes(self) -> bool:
        """Return True where this process writes."""
        is_writing_worker = self._all_workers or self.worker == layout.DEFAULT_WORKER
        return is_writing_worker and not self._dry_run and self.claimed is not False

    def open(self, step: int) -> None:
        """Begin the files of a step, unless they are open."""
        if self.num_workers == 1 and self.claimed is None and not self._dry_run:
            self.claimed = self._claim()
        if self.writes and self.writer is None:
            self.writer = StepWriter(self.files, step, self.worker)

    def close(self) -> None:
        """Complete the files of the step."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None
        for board in self._boards.values():
            board.close()
        self._boards.clear()

    def write(self, name: str, value: Any, mode: ModeKeys, mode_step: int, timestamp: float | None = None) -> bool:
        """Write a tensor; returns False where no files are open. Empty tensors are left out, as in smdebug."""
        array = np.asarray(value)
        if self.writer is None:
            return False
        if array.nbytes:
            self.writer.write_tensor(name, array, mode, mode_step, timestamp)
        return True

    @property
    def recording_workers(self) -> int:
        """Number of workers that write."""
        return self.num_workers if self._all_workers else 1

    def export(self, collections: str) -> None:
        """Write the file that lists the collections."""
        if self.writes:
            self.files.write(layout.collections_file(self.worker), collections.encode())

    def end(self) -> None:
        """Mark the end of training, outside of jobs: there the platform does it when all files have arrived."""
        if not is_in_job() and not self._dry_run:
            self.files.write(layout.END_OF_TRAINING, b"")
        if self.claimed and isinstance(self.files, LocalFiles):
            claim = os.path.join(self.files.root, layout.CLAIM)
            if os.path.exists(claim):
                os.remove(claim)
            self.claimed = None

    def board_scalar(
        self, name: str, value: np.ndarray, collections: Sequence[Collection], at: ModeStepCounter
    ) -> None:
        """Write a number of a scalar collection for TensorBoard."""
        if value.size == 1 and any(collection.name in SCALAR_COLLECTIONS for collection in collections):
            self.board_value(name, float(value.reshape(-1)[0]), at)

    def board_value(self, name: str, value: float, at: ModeStepCounter, timestamp: float | None = None) -> None:
        """Write a number for TensorBoard."""
        board = self._board(at)
        if board is not None:
            board.write_scalar(name, value, timestamp)

    def board_histogram(
        self, name: str, value: np.ndarray, collections: Sequence[Collection], at: ModeStepCounter
    ) -> None:
        """Write a histogram for TensorBoard, under the first collection that wants histograms."""
        board = self._board(at)
        histogrammed = [item for item in collections if item.save_histogram and item.name not in SCALAR_COLLECTIONS]
        if board is not None and histogrammed:
            board.write_histogram(f"{histogrammed[0].name}/{name}", value)

    def _board(self, at: ModeStepCounter) -> TensorBoardWriter | None:
        if self.tensorboard_dir is None or not self.writes:
            return None
        if at.mode not in self._boards:
            worker = f"{os.getpid()}_{socket.gethostname()}"
            self._boards[at.mode] = TensorBoardWriter(open_files(self.tensorboard_dir), at.step, at.mode, worker)
        return self._boards[at.mode]

    def _claim(self) -> bool:
        if is_s3(self.files.root):
            return True
        os.makedirs(self.files.root, exist_ok=True)
        try:
            os.close(os.open(os.path.join(self.files.root, layout.CLAIM), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            get_logger().warning(
                f"{self.files.root}: another process writes there already, so process {os.getpid()} writes nothing. "
                "If it was killed, delete claim.smd."
            )
            return False
        return True
