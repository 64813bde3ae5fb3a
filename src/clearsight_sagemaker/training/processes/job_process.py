"""JobProcess: the process tree of a job's command, and how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from clearsight_sagemaker.training.job_log import LineLog, OutputReader

Way = Literal["overlay", "tmpfs", "symlink", "environment"]

_ENTER_JOB = Path(__file__).with_name("enter_job.py")
_KILL_SECONDS = 20.0  # that the kernel may need for the end of a killed tree


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """A command and its view of the machine.

    way: how /opt/ml is shown: by an overlay over /opt, by a tmpfs there, or as a symbolic link or not at all, which
    both need nothing here.  folder: working directory, as the command sees it.
    work: folder for mounts.  ml: folder that is shown as `opt`/ml, `work`/ml where it is None.
    links: folder of channels that are shown in input/data by an overlay, "" for none; read_only: names of channels in
    it that cannot be written to.  no_network: True for loopback alone.  descriptors: that the command inherits.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    work: Path
    way: Way
    links: str = ""
    read_only: Sequence[str] = ()
    no_network: bool = False
    opt: str = "/opt"
    ml: Path | None = None
    descriptors: Sequence[int] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what enter_job.py reads, without the environment, which its process has."""
        values = asdict(self)
        del values["environment"]
        ml = self.ml or self.work / "ml"
        return {**values, "work": str(self.work), "ml": str(ml), "runner": os.getpid()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """End of a command. exit_code: 128 + number where a signal ended it.  problem: why it did not start, "" if it did.

    killed: True where this program killed the tree.  vanished: True where something else killed it.
    """

    exit_code: int
    problem: str = ""
    killed: bool = False
    vanished: bool = False


@dataclass(slots=True)
class JobProcess:
    """A running command. Used by one thread: the one that started it, with whose end the kernel ends the tree."""

    reader: OutputReader
    _process: subprocess.Popen[bytes]
    _status: int
    _killed: bool = field(default=False)

    @classmethod
    def start(cls, launch: Launch, log: LineLog, on_lines: Callable[[Sequence[str]], None]) -> JobProcess:
        """Start a command; its output and that of its children goes to the log. Raises OSError, ValueError."""
        output, output_end = os.pipe()
        status, status_end = os.pipe()
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_ENTER_JOB)],
                cwd="/",
                env=dict(launch.environment),
                stdin=subprocess.PIPE,
                stdout=output_end,
                stderr=subprocess.STDOUT,
                pass_fds=[status_end, *launch.descriptors],
                start_new_session=True,
            )
        except (OSError, ValueError):
            os.close(output)
            os.close(status)
            raise
        finally:
            os.close(output_end)
            parts = json.dumps({**launch.to_json(), "status": status_end}).encode()
            os.close(status_end)
        assert process.stdin is not None
        with process.stdin as stdin:
            stdin.write(parts)
        return cls(OutputReader(output, log, on_lines), process, status)

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the command for some seconds; return True once it has ended."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def terminate(self) -> None:
        """Send SIGTERM to every process of the tree."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill every process of the tree, and wait for that."""
        self._killed = True
        self._process.send_signal(signal.SIGUSR1)
        if not self.wait(_KILL_SECONDS):
            self._process.kill()
            self._process.wait()

    def outcome(self) -> Outcome:
        """Return how the command ended, once it has; waits for the rest of the output. Raises OSError."""
        with open(self._status, "rb") as file:
            facts = [json.loads(line) for line in file]
        self.reader.join()
        problem = next((fact["problem"] for fact in facts if "problem" in fact), "")
        ends = [fact for fact in facts if "exit_code" in fact]
        if problem:
            return Outcome(exit_code=127, problem=problem)
        if not ends:  # neither the command nor what started it came to its end
            return Outcome(exit_code=128 + signal.SIGKILL, killed=self._killed, vanished=not self._killed)
        vanished = ends[-1]["signal"] == signal.SIGKILL and not self._killed
        return Outcome(exit_code=ends[-1]["exit_code"], killed=self._killed, vanished=vanished)
