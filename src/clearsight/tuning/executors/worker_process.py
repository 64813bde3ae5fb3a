"""WorkerProcess: one worker process of this machine, with its pipes and its log."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clearsight.tuning.executors.protocol import encode

_TAIL = 12  # lines of the log of a dead worker that its study shows
_CHUNK = 1 << 16  # bytes; the capacity of a pipe on Linux
_PATIENCE = 2.0  # seconds for a worker to exit by itself


class WorkerProcess:
    """A worker that reads messages from standard input and writes messages to a pipe; its other output goes to a log.

    It has a session of its own, so that Ctrl-C reaches the study alone. It exits when its standard input ends, so that
    it never outlives the study.

    open: False once it will send nothing more.
    """

    def __init__(self, command: Sequence[str], resources: Mapping[str, Any], log: Path) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        try:
            with log.open("ab") as output:
                self._log_start = output.tell()  # an earlier worker of this slot may have written before
                self.process = subprocess.Popen(
                    [*command, str(write_end)],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    pass_fds=[write_end],
                    start_new_session=True,
                )
        except BaseException:  # also KeyboardInterrupt: the descriptor would leak
            os.close(read_end)
            raise
        finally:
            os.close(write_end)  # only the worker may hold it: its exit then ends the pipe
        self.pipe, self._partial_line, self.open = read_end, b"", True
        self.send(resources)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; without effect on a dead worker, which `receive` notices."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(encode(message))
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):  # ValueError: standard input is closed already
            self.open = self.open and self.process.poll() is None

    def receive(self) -> list[dict[str, Any]]:
        """Return the messages since the last call, without waiting; sets `open` to False at the end of the pipe."""
        chunks = [self._partial_line]
        while True:
            try:
                chunk = os.read(self.pipe, _CHUNK)
            except BlockingIOError:
                break
            if not chunk:
                self.open = False
                break
            chunks.append(chunk)
        *lines, self._partial_line = b"".join(chunks).split(b"\n")
        return [json.loads(line) for line in lines]

    def end(self) -> None:
        """End the process, if necessary by a kill, and close its pipes."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the process has exited and left buffered input
            self.process.stdin.close()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.pipe)

    def exit_reason(self) -> str:
        """Return how the process ended, as a clause."""
        try:
            code = self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            return "its worker closed its pipe"
        if code < 0:
            return f"its worker was killed by {signal.Signals(-code).name}"
        return f"its worker exited with code {code}"

    def log_tail(self) -> str:
        """Return the last lines that this process wrote to its log."""
        with self.log.open("rb") as output:
            output.seek(self._log_start)
            return "\n".join(output.read().decode(errors="replace").splitlines()[-_TAIL:])
