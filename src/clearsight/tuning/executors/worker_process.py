"""WorkerProcess: one worker of this machine, held by its process handle."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clearsight.tuning.executors.protocol import line

_TAIL = 12  # lines of its log that are told of a worker that died
_CHUNK = 1 << 16
_PATIENCE = 2.0  # seconds for a worker to end by itself


class WorkerProcess:
    """A worker: told by its standard input, heard through a pipe of its own, its other words kept in a log.

    It is no member of our group, so that Ctrl-C reaches us alone; and it ends when its standard input does, so that
    it never outlives us.
    """

    def __init__(self, command: Sequence[str], hello: Mapping[str, Any], log: Path) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        try:
            with log.open("ab") as said:
                self._began_at = said.tell()
                self.process = subprocess.Popen(
                    [*command, str(theirs)],
                    stdin=subprocess.PIPE,
                    stdout=said,
                    stderr=said,
                    pass_fds=[theirs],
                    start_new_session=True,
                )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self.pipe, self._rest, self.open = ours, b"", True
        self.tell(hello)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Say something to it; nothing comes of it where it is gone, which `messages` finds out."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line(message))
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            self.open = self.open and self.process.poll() is None

    def messages(self) -> list[dict[str, Any]]:
        """What it has said since; sets `open` to False once it will say nothing more."""
        parts = [self._rest]
        while True:
            try:
                part = os.read(self.pipe, _CHUNK)
            except BlockingIOError:
                break
            if not part:
                self.open = False
                break
            parts.append(part)
        *whole, self._rest = b"".join(parts).split(b"\n")
        return [json.loads(one) for one in whole]

    def end(self) -> None:
        """End it, whatever it does, and let go of its pipes."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone already
            self.process.stdin.close()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.pipe)

    def why_gone(self) -> str:
        """How it ended, in words."""
        try:
            code = self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            return "its worker went silent"
        if code < 0:
            return f"its worker was ended by {signal.Signals(-code).name}"
        return f"its worker ended with exit code {code}"

    def last_words(self) -> str:
        """The end of what it wrote to its log."""
        with self.log.open("rb") as said:
            said.seek(self._began_at)
            return "\n".join(said.read().decode(errors="replace").splitlines()[-_TAIL:])
