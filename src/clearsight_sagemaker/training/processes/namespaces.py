"""Support for namespaces: in which way jobs of this machine get an /opt/ml that is theirs alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clearsight_sagemaker.training.job_folder import CONTAINER_ML
from clearsight_sagemaker.training.job_log import JobLog
from clearsight_sagemaker.training.processes.job_process import JobProcess, Launch, Way

_LINK = Path(CONTAINER_ML)
_REMOVE_SECONDS = 10.0
_SENTENCES = {
    "overlay": "Jobs see an /opt/ml of their own (user, mount and PID namespaces, overlay over /opt).",
    "tmpfs": "Jobs see an /opt/ml of their own (user, mount and PID namespaces, tmpfs over /opt).",
    "symlink": "Jobs see /opt/ml as a symbolic link, one job at a time.",
    "environment": "Jobs see no /opt/ml: scripts must read SM_MODEL_DIR and the other SM_* variables, "
    "and those that name /opt/ml fail.",
}


@dataclass(frozen=True, slots=True)
class NamespaceSupport:
    """Way in which jobs see /opt/ml. reason: why namespaces are not used, "" where they are."""

    way: Way
    reason: str = ""

    @property
    def no_network(self) -> bool:
        """Return True where EnableNetworkIsolation can be kept."""
        return self.way in ("overlay", "tmpfs")

    @property
    def sentence(self) -> str:
        """Return a sentence for logs, `status` and `doctor`."""
        text = _SENTENCES[self.way]
        return f"{text} Namespaces are refused: {self.reason}." if self.reason else text

    @property
    def ml(self) -> str | None:
        """Return the path of the job's /opt/ml as the job sees it; None where it is the path on this machine."""
        return None if self.way == "environment" else CONTAINER_ML


def namespace_support(folder: Path) -> NamespaceSupport:
    """Try, by a short command, how jobs in a folder can see /opt/ml. The machine stays as it is."""
    reason = "this system is not Linux"
    if sys.platform == "linux":
        ways: tuple[Way, ...] = ("overlay", "tmpfs")
        for way in ways:
            reason = _problem(folder, way)
            if not reason:
                return NamespaceSupport(way)
    # The link must be there already: nothing is put into /opt on the machine.
    if _LINK.is_symlink() and os.access(_LINK.parent, os.W_OK):
        return NamespaceSupport("symlink", reason)
    return NamespaceSupport("environment", reason)


def machine_sentence() -> str:
    """Return how jobs on this machine see /opt/ml, for `clearsight doctor`."""
    with tempfile.TemporaryDirectory() as folder:
        return namespace_support(Path(folder)).sentence


def _problem(folder: Path, way: Way) -> str:
    """Return why a job cannot see /opt/ml in a way; "" if it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".namespaces-", dir=folder))
    except OSError as error:
        return str(error)
    try:
        for path in ("ml/input/data", "links/photos"):
            (work / path).mkdir(parents=True)
        command = ("/bin/sh", "-c", f"echo seen > {CONTAINER_ML}/seen && test -d {CONTAINER_ML}/input/data")
        log = JobLog(work / "log.txt")
        launch = Launch(
            command=command, environment={}, folder="/", work=work, way=way, no_network=True,
            links=str(work / "links") if way == "overlay" else "",
            read_only=["photos"] if way == "overlay" else (),
        )  # fmt: skip
        try:
            process = JobProcess.start(launch, log, lambda lines: None)
            if not process.wait(30):
                process.kill()
            outcome = process.outcome()
        finally:
            log.close()
        if outcome.exit_code == 0 and (work / "ml" / "seen").is_file():
            return ""
        return outcome.problem or f"a trial ended with exit code {outcome.exit_code}"
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    finally:
        _remove(work)


def _remove(work: Path) -> None:
    """Remove a folder in which an overlay was mounted; the kernel leaves a folder in it that nobody may read."""
    for scratch in work.glob("mounts/scratch-*/work"):
        scratch.chmod(0o700)
    shutil.rmtree(work, ignore_errors=True)


def remove_work(work: Path) -> None:
    """Remove the work folder of a job, in which overlays were mounted and which the job may have made read-only.

    Processes of a runner that was killed may still be there for a moment. Raises OSError where it cannot be removed.
    """
    end = time.monotonic() + _REMOVE_SECONDS
    while work.exists():
        _make_writable(work)
        _remove(work)
        if work.exists():
            if time.monotonic() > end:
                raise OSError(f"{work}: it cannot be removed")
            time.sleep(0.05)


def _make_writable(work: Path) -> None:
    for parent, folders, _ in os.walk(work):
        for name in folders:
            with contextlib.suppress(OSError):
                if not (path := Path(parent, name)).is_symlink():
                    path.chmod(0o700)


@contextlib.contextmanager
def ml_link(target: Path, support: NamespaceSupport) -> Iterator[None]:
    """Let /opt/ml be a link to a folder within the block, where jobs see it in that way. Waits for other jobs."""
    if support.way != "symlink":
        yield
        return
    with (target.parents[2] / "opt-ml.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = os.readlink(_LINK)
        _point_to(str(target))
        try:
            yield
        finally:
            _point_to(before)


def _point_to(target: str) -> None:
    part = _LINK.with_name(f".ml-{os.getpid()}")
    part.symlink_to(target)
    part.replace(_LINK)
