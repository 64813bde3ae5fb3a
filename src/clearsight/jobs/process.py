"""Process of a job: started in a group of its own, found again after its supervisor was killed, ended as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clearsight.core.machine import process_ended, process_identity
from clearsight.jobs.job import JobSpec
from clearsight.jobs.listener import LISTENER

_TOKEN = "CLEARSIGHT_JOB"  # variable in the environment of a job's process
_FOLDER_SECONDS = 2.0  # between two looks at whether a folder is still there
_POLL_SECONDS = 0.1  # where the system has no file descriptors of processes


def start(spec: JobSpec, token: str, log: Path, listener: socket.socket | None = None) -> subprocess.Popen[bytes]:
    """Start the command of a job; its output is appended to `log`. Raises OSError where it cannot be started.

    listener: socket that it gets, None for none.
    It gets a session of its own: neither Ctrl-C nor the end of the terminal reaches it, and the group can be ended
    as a whole.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    variables, descriptors = {_TOKEN: token}, []
    if listener is not None:
        descriptors.append(listener.fileno())
        variables[LISTENER] = str(listener.fileno())
    # Appending: the file may be cut while the process writes.
    with log.open("ab", buffering=0) as output:
        process = subprocess.Popen(
            spec.command,
            cwd=spec.folder,
            env={**spec.environment, **variables},
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _limit(process.pid, spec)
    return process


def _limit(pid: int, spec: JobSpec) -> None:
    """Give a process its share of the machine; what it starts later inherits it."""
    share = spec.resources
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        if share.nice:
            os.setpriority(os.PRIO_PROCESS, pid, share.nice)
        if sys.platform == "linux":  # other systems have neither
            if share.cores:
                os.sched_setaffinity(pid, share.cores)
            if share.memory:
                resource.prlimit(pid, resource.RLIMIT_AS, (share.memory, share.memory))


def find(token: str) -> int | None:
    """Return the PID of the process group leader with the token in its environment; None where there is none."""
    target = f"{_TOKEN}={token}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or belongs to somebody else
            if target in (folder / "environ").read_bytes().split(b"\0"):
                pid = int(folder.name)
                if os.getpgid(pid) == pid and process_identity(pid)["start"]:
                    return pid
    return None


async def ended(identity: Mapping[str, Any]) -> None:
    """Return when the process is over; it need not be a child of this one."""
    with contextlib.suppress(OSError, AttributeError):  # it is over, or the system has no such descriptors
        handle = os.pidfd_open(identity["pid"])
        try:
            if not process_ended(identity):  # the PID is not another process' by now
                await _readable(handle)
        finally:
            os.close(handle)
    while not process_ended(identity):
        await asyncio.sleep(_POLL_SECONDS)


async def _readable(handle: int) -> None:
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(handle)


async def stop(identity: Mapping[str, Any], seconds: float) -> None:
    """End a process group: SIGTERM, after some seconds SIGKILL. Returns when the leader is over and the rest killed."""
    if not process_ended(identity):
        _signal(os.kill, identity["pid"], signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended(identity), seconds)
    kill_group(identity)
    await ended(identity)


def kill_group(identity: Mapping[str, Any]) -> None:
    """Kill what is left of a group: a job leaves nothing behind. The leader may be over.

    A group keeps its number from being used again as long as one of its processes lives.
    """
    _signal(os.killpg, identity["pid"], signal.SIGKILL)


def is_removed(folder: Path) -> bool:
    """Return True for a folder that is not there; False also where that cannot be found out now."""
    try:
        folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def end_with_folder(folder: Path) -> None:
    """Let this process, with its group where it leads one, be killed once a folder that it works for is removed.

    Nobody would find the process any more; its supervisor may have ended before. A folder that is not there yet is not
    watched.
    """
    if is_removed(folder):
        return

    def watch() -> None:
        while not is_removed(folder):
            time.sleep(_FOLDER_SECONDS)
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="folder of the process", daemon=True).start()


def _signal(send: Callable[[int, int], None], pid: int, number: int) -> None:
    # PermissionError: on macOS for a group of which only a zombie is left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(pid, number)
