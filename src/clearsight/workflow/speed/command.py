"""profile_command: profile any command, whatever it runs, without a change to it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from clearsight.core.errors import EmptyInput, NotFound
from clearsight.core.finding import Finding
from clearsight.core.profile import Machine
from clearsight.core.profile_folder import read_profile
from clearsight.workflow.profile import FOLDER, Breakdown, check_free, conclude

if TYPE_CHECKING:
    from clearsight.profiler.gauges.source import GaugeSource

VARIABLE = "CLEARSIGHT_PROFILE"  # how the processes of the command learn where to write
FULL = "CLEARSIGHT_PROFILE_FULL"
_PATIENCE = 1.0  # seconds


@dataclass(frozen=True, kw_only=True)
class ProfiledCommand:
    """A command that has ended. code: its exit code, 128 + n where signal n ended it.  failure: "" for none."""

    folder: Path
    code: int
    seconds: float
    breakdown: Breakdown
    failure: str

    @property
    def findings(self) -> Sequence[Finding]:
        """Of the profiler's rules."""
        return self.breakdown.findings


def profile_command(
    command: Sequence[str],
    out: Path | None = None,
    *,
    environment: Mapping[str, str],
    injected: Path,
    every: float = 0.5,
    full: bool = False,
    begun: Callable[[Path], None] = lambda _: None,
) -> ProfiledCommand:
    """Run a command to its end, look at the machine meanwhile, and follow the training loop of a Python script in it.

    out: the run folder, None for the next free runs/<script>-<n>.  environment: of the command.  injected: the folder
    with the sitecustomize.py for its processes.  every, full: as of `profile`.  begun: told of the folder at the start.
    A Ctrl-C goes to the command; the report is written in any case.
    Raises EmptyInput without a command, NotFound for a program that is not there, NotResumable where `out` is taken.
    """
    from clearsight.profiler.external.collect import collect_profile
    from clearsight.profiler.sampler import Sampler

    if not command:
        raise EmptyInput(
            "clearsight profile --", "there is no command", fix="Write: clearsight profile -- python train.py"
        )
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        raise NotFound(command[0], "there is no such program, or it may not be run", fix="Name it by its path.")
    out = Path(out) if out is not None else _free(command)
    check_free(out)
    visible = _visible(environment)
    Sampler(None, every=every)  # raises now for an interval that is out of range, not when the command runs
    folder = out / FOLDER
    folder.mkdir(parents=True)
    begun(out)
    began = time.perf_counter()
    dressed = _dressed(environment, folder.resolve(), injected, full=full)
    child = subprocess.Popen(list(command), executable=program, env=dressed)
    with _passing_on(child):
        machine = replace(_machine(child.pid, visible), interval=every)
        sampler = Sampler(folder, every=every, pid=child.pid, sources=_sources(child.pid, visible))
        sampler.start()
        code = _ended(child)
        sampler.stop()
    seconds = time.perf_counter() - began
    failure = "; ".join(part for part in (collect_profile(folder, machine), sampler.failure) if part)
    findings = conclude(out, status=_status(code), command=command, seconds=seconds)
    breakdown = Breakdown(profile=read_profile(folder), findings=findings)
    code = 128 - code if code < 0 else code
    return ProfiledCommand(folder=out, code=code, seconds=seconds, breakdown=breakdown, failure=failure)


def _free(command: Sequence[str]) -> Path:
    """The next free folder for a command: runs/<script>-<n>."""
    script = next((word for word in command if word.endswith(".py")), command[0])
    name = re.sub(r"[^\w.-]+", "-", Path(script).stem) or "command"
    number = 1
    while (out := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return out


def _dressed(environment: Mapping[str, str], folder: Path, injected: Path, *, full: bool) -> dict[str, str]:
    """The environment of the command, in which its Python processes find our sitecustomize first."""
    paths = [str(injected), *filter(None, [environment.get("PYTHONPATH")])]
    added = {"PYTHONPATH": os.pathsep.join(paths), VARIABLE: str(folder)}
    return {**environment, **added, **({FULL: "1"} if full else {})}


def _visible(environment: Mapping[str, str]) -> list[str] | None:
    told = environment.get("CUDA_VISIBLE_DEVICES")
    return None if told is None else [entry.strip() for entry in told.split(",") if entry.strip()]


def _machine(pid: int, visible: Sequence[str] | None) -> Machine:
    from clearsight.profiler.machine_info import machine_info

    try:
        return machine_info(pid, visible)
    except (NotFound, OSError):  # it has ended already
        return replace(machine_info(None, visible), launched=time.time())


def _sources(pid: int, visible: Sequence[str] | None) -> list[GaugeSource] | None:
    from clearsight.profiler.gauges import sources

    return sources(pid, visible) if visible is not None else None


def _ended(child: subprocess.Popen[bytes]) -> int:
    """Wait for the end; the return code, negative for a signal."""
    while True:
        try:
            return child.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            continue  # a signal that comes just before a wait is heard after it


def _status(code: int) -> str:
    if code in (-signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM):
        return "interrupted"
    return "completed" if code == 0 else "failed"


@contextmanager
def _passing_on(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Within the block what is meant to stop this process stops the command, and we go on to report.

    A Ctrl-C at a terminal reaches the command by itself, as it is in the foreground with us.
    """

    def passed_on(number: int, frame: FrameType | None) -> None:
        if child.poll() is None and not (number == signal.SIGINT and _in_foreground()):
            child.send_signal(number)

    if threading.current_thread() is not threading.main_thread():  # signals come to the main thread alone
        yield
        return
    before = {number: signal.signal(number, passed_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_foreground() -> bool:
    try:
        terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False  # there is no terminal
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)
