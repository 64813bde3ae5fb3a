"""One process writes to a folder at a time; a dead one stops nobody."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from clearsight.core.errors import NotResumable, StudyUnavailable
from clearsight.core.folder_lock import folder_lock

HOLDER = """
import sys, pathlib
from clearsight.core.folder_lock import folder_lock
with folder_lock(pathlib.Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "run.lock"


def hold(lock: Path) -> subprocess.Popen[str]:
    """Start a process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_refusal_names_process_and_machine(lock: Path) -> None:
    sentence = rf"process {os.getpid()} on {socket.gethostname()} works on this run\. Wait until it ends, or end it\."
    with folder_lock(lock, "run"), pytest.raises(NotResumable, match=sentence), folder_lock(lock, "run"):
        pass
    assert not lock.exists()  # nothing is left in the folder
    with folder_lock(lock, "run"):
        pass


def test_a_process_that_was_killed_stops_nobody(lock: Path) -> None:
    holder = hold(lock)
    with (
        pytest.raises(StudyUnavailable, match=f"process {holder.pid} on "),
        folder_lock(lock, "study", StudyUnavailable),
    ):
        pass
    holder.kill()
    holder.communicate()
    assert lock.exists()
    with folder_lock(lock, "study", StudyUnavailable):
        assert lock.read_text().split()[0] == str(os.getpid())


def test_a_forked_child_neither_holds_nor_removes_the_lock(lock: Path) -> None:
    release = os.pipe()
    with folder_lock(lock, "run"):
        child = os.fork()
        if not child:  # it outlives the block of its parent
            os.read(release[0], 1)
            os._exit(0)
        assert lock.exists()
    try:
        with folder_lock(lock, "run"):
            pass
    finally:
        os.write(release[1], b"x")
        os.waitpid(child, 0)
        for handle in release:
            os.close(handle)


def test_a_lock_file_that_was_replaced_is_locked_anew(lock: Path) -> None:
    with folder_lock(lock, "run"):
        lock.unlink()  # by a person, say
        with folder_lock(lock, "run"):
            assert lock.exists()
