"""profile_command: profiles any command without a change to it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from clearsight.core.errors import EmptyInput, NotFound
from clearsight.core.profile import Machine
from clearsight.core.profile_folder import read_profile
from clearsight.core.run import RunFolder
from clearsight.core.stop import END_SIGNALS, discard_lost_terminal, handling
from clearsight.workflow.paths import make_folder
from clearsight.workflow.run.context import visible_gpus
from clearsight.workflow.speed.breakdown import Breakdown, check_free, conclude

# Environment variables of the command: its processes read from them where to write and what to record.
VARIABLE = "CLEARSIGHT_PROFILE"
FULL = "CLEARSIGHT_PROFILE_FULL"
_WAIT = 1.0  # seconds between two looks for signals that came just before a wait


@dataclass(frozen=True, kw_only=True)
class ProfiledCommand:
    """Result of a command that has ended. code: its exit code, 128 + n if signal n ended it.  failure: of the profiler,
    "" for none.
    """

    folder: Path
    code: int
    seconds: float
    breakdown: Breakdown
    failure: str


@dataclass(frozen=True, kw_only=True)
class CommandOptions:
    """Extent of the recording. every: seconds between samples of the machine.  full: also trace a few steps operator by
    operator.
    """

    every: float = 0.5
    full: bool = False


def profile_command(
    command: Sequence[str],
    out: Path | None = None,
    *,
    environment: Mapping[str, str],
    injected: Path,
    options: CommandOptions = CommandOptions(),
    on_start: Callable[[Path], None] = lambda _: None,
) -> ProfiledCommand:
    """Run a command to its end, sample the machine meanwhile, and follow the training loop of a Python script in it.

    out: the run folder, None for the next free runs/<script>-<n>.  environment: of the command.  injected: the folder
    with the sitecustomize.py for its processes.  on_start: called with the run folder before the command runs.
    A Ctrl-C goes to the command; the report is written in any case.
    Raises EmptyInput without a command, NotFound for an unknown program, NotResumable if `out` has a run already.
    """
    from clearsight.profiler.external.collect import collect_profile
    from clearsight.profiler.gauges import sources
    from clearsight.profiler.sampler import Sampler

    if not command:
        raise EmptyInput(
            "clearsight profile --", "there is no command", fix="Write: clearsight profile -- python train.py"
        )
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        raise NotFound(command[0], "there is no such program, or it is not executable", fix="Give its path.")
    script = next((word for word in command if word.endswith(".py")), command[0])
    visible = visible_gpus(environment)
    Sampler(None, every=options.every)  # raises for an interval out of range now, before a folder is made
    out = Path(out) if out is not None else make_folder("runs", script, "command")
    check_free(out)
    folder = RunFolder(out).profile
    folder.mkdir(parents=True)
    on_start(out)
    start = time.perf_counter()
    variables = _with_injection(environment, folder.resolve(), injected, full=options.full)
    child = subprocess.Popen(list(command), executable=program, env=variables)
    with _forwarding_signals(child):
        machine = replace(_machine(child.pid, visible), interval=options.every)
        gauges = sources(child.pid, visible) if visible is not None else None
        sampler = Sampler(folder, every=options.every, pid=child.pid, sources=gauges)
        sampler.start()
        code = _wait(child)
        sampler.stop()
    seconds = time.perf_counter() - start
    failure = "; ".join(part for part in (collect_profile(folder, machine), sampler.failure) if part)
    findings = conclude(out, status=_status(code), command=command, seconds=seconds)
    breakdown = Breakdown(profile=read_profile(folder), findings=findings)
    code = 128 - code if code < 0 else code  # as shells report a signal
    return ProfiledCommand(folder=out, code=code, seconds=seconds, breakdown=breakdown, failure=failure)


def _with_injection(environment: Mapping[str, str], folder: Path, injected: Path, *, full: bool) -> dict[str, str]:
    """Return the environment of the command, in which its Python processes find clearsight's sitecustomize first."""
    paths = [str(injected), *filter(None, [environment.get("PYTHONPATH")])]
    added = {"PYTHONPATH": os.pathsep.join(paths), VARIABLE: str(folder)}
    return {**environment, **added, **({FULL: "1"} if full else {})}


def _machine(pid: int, visible: Sequence[str] | None) -> Machine:
    from clearsight.profiler.machine_info import machine_info

    try:
        return machine_info(pid, visible)
    except (NotFound, OSError):  # the command has ended already
        return replace(machine_info(None, visible), launched=time.time())


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait for the end; return the return code, negative for a signal."""
    while True:
        try:
            return child.wait(timeout=_WAIT)
        except subprocess.TimeoutExpired:
            continue  # the handler of a signal that came just before a wait runs between two waits


def _status(code: int) -> str:
    if any(code in (-number, 128 + number) for number in END_SIGNALS):
        return "interrupted"
    return "completed" if code == 0 else "failed"


@contextmanager
def _forwarding_signals(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Within the block the signals that end a process stop the command; this process continues, to the report.

    A Ctrl-C at a terminal reaches the command by itself, as it runs in the foreground like this process.
    """

    def forward(number: int, frame: FrameType | None) -> None:
        discard_lost_terminal(number)
        if child.poll() is None and not (number == signal.SIGINT and _in_foreground()):
            child.send_signal(number)

    with handling(END_SIGNALS, forward):
        yield


def _in_foreground() -> bool:
    try:
        terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False  # there is no terminal
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)
