"""JobFailed: why a job fails. The reasons have the prefixes and the length of SageMaker's FailureReason."""

from __future__ import annotations

import shlex
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from clearsight.core.errors import ClearsightError, DiskFull
from clearsight.core.files import disk_full_as_error
from clearsight.core.secrets import redact
from clearsight_sagemaker.s3.errors import S3Error

MOST_REASON = 1024  # characters of a FailureReason
_MOST_COMMAND = 300


class JobFailed(Exception):
    """Raised where a job cannot go on. reason: FailureReason.  exit_code: of the script, None where none ran."""

    def __init__(self, reason: str, exit_code: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.exit_code = reason[:MOST_REASON], exit_code


class Interrupted(Exception):
    """Raised where a job's processes were ended by something else than the job; it may be started again."""


class StopRequested(Exception):
    """Raised where the user stops a job before its script runs."""


@contextmanager
def errors_as_failure(folder: Path) -> Iterator[None]:
    """Raise JobFailed in the place of the errors that the store, the disk and the request of a job may lead to.

    folder: of the job.
    """
    try:
        with disk_full_as_error(folder):
            yield
    except DiskFull as error:
        raise client_error(f"No space is left on the disk: {error}") from None
    except (ClearsightError, S3Error) as error:
        raise client_error(str(error)) from None
    except (OSError, sqlite3.Error) as error:
        raise internal_error(str(error)) from None


def client_error(text: str) -> JobFailed:
    """Return the failure of a job whose request or data are wrong."""
    return JobFailed(f"ClientError: {text}")


def download_error(text: str) -> JobFailed:
    """Return the failure of a job whose input data cannot be had."""
    return client_error(f"Data download failed: {text}")


def internal_error(text: str) -> JobFailed:
    """Return the failure of a job for which neither script nor request can be blamed."""
    return JobFailed(f"InternalServerError: {text}")


def script_error(command: Sequence[str], exit_code: int, lines: Sequence[str]) -> JobFailed:
    """Return the failure of a script. lines: the last ones of its output; the last of them are in the reason."""
    suffix = f", exit code: {exit_code}"
    shown = redact(shlex.join(command))
    if len(shown) > _MOST_COMMAND:
        shown = shown[: _MOST_COMMAND - 3] + "..."
    head = f'AlgorithmError: ExecuteUserScriptError:\nExitCode {exit_code}\nErrorMessage "'
    if exit_code > 128:
        lines = [*lines, f"ended by {_signal_name(exit_code - 128)}"]
    tail = f'"\nCommand "{shown}"{suffix}'
    return JobFailed(head + _end(error_text(lines), MOST_REASON - len(head) - len(tail)) + tail, exit_code)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def container_error(text: str, exit_code: int) -> JobFailed:
    """Return the failure of a container command. text: of /opt/ml/output/failure, or the last lines of the output."""
    suffix = f", exit code: {exit_code}"
    head = "AlgorithmError: "
    return JobFailed(head + text.strip()[: MOST_REASON - len(head) - len(suffix)] + suffix, exit_code)


def algorithm_error(text: str, exit_code: int) -> JobFailed:
    """Return the failure of a built-in algorithm. text: with its own prefix, such as "ClientError: "."""
    suffix = f", exit code: {exit_code}"
    return JobFailed(text.strip()[: MOST_REASON - len(suffix)] + suffix, exit_code)


def error_text(lines: Sequence[str]) -> str:
    """Return the last traceback in the lines up to its message, else the last lines that are not blank."""
    text = [line.rstrip() for line in lines if line.strip()]
    starts = [
        number for number, line in enumerate(text) if line.lstrip().startswith("Traceback (most recent call last)")
    ]
    return "\n".join(text[starts[-1] :] if starts else text[-5:])


def _end(text: str, most: int) -> str:
    """Return the end of a text: of a traceback, the message."""
    return text if len(text) <= most else "..." + text[len(text) - most + 3 :]
