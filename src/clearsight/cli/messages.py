"""Running a command: whatever it raises becomes one sentence on stderr and an exit code."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clearsight.core import errors
from clearsight.core.errors import BadChoice, ClearsightError

# Exit codes. 2 is also what typer and most shells use for a wrong command line; 130 is 128 + SIGINT.
FAILURE, USER_ERROR, STOPPED = 1, 2, 130

# Flags that may stand without a number, and the number that this means.
_DEFAULT_NUMBERS = {"--repair": "3"}

# Read when torch is loaded; a value of the user's stays.
_VARIABLES = {
    "OMP_WAIT_POLICY": "passive",  # spinning threads cost a factor of ten when anything else runs on the cores
    "KINETO_LOG_LEVEL": "99",  # or torch's tracer writes to stderr about GPUs that the machine does not have
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
SET_BY_CLI: set[str] = set()  # the variables that this process has set for itself

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

# Users can correct all other errors themselves, so those end with USER_ERROR.
_FAILURES = (errors.Diverged, errors.DiskFull)


def run_command(name: str, words: Sequence[str], commands: Mapping[str, tuple[str, str]]) -> int:
    """Run a command and return its exit code; an error leaves one sentence on stderr."""
    try:
        if name not in commands:
            raise BadChoice(f"clearsight {name}", "no such command", got=name, allowed=commands)
        _quiet_libraries()
        module = importlib.import_module(commands[name][0])
        return _invoke(module.app, f"clearsight {name}", with_default_numbers(words))
    except ClearsightError as error:
        return fail(str(error), FAILURE if isinstance(error, _FAILURES) else USER_ERROR)
    except KeyboardInterrupt:
        return fail("stopped", STOPPED)
    except BrokenPipeError:
        raise  # to `main`: the reader of our output has gone, which is no problem of the system
    except OSError as error:
        # A problem of the system, not a bug: a folder without write permission, a disk that is full.
        path = f"{error.filename}: " if error.filename else ""
        return fail(f"{path}{error.strerror or error}.", FAILURE if error.errno in _DISK_FULL else USER_ERROR)
    except Exception:  # the edge of the process: any other error is a bug, shown with its traceback
        traceback.print_exc()
        return fail("this is a bug in clearsight; please report it with the lines above", FAILURE)


def with_default_numbers(words: Sequence[str]) -> list[str]:
    """Return the words of a command with `--repair` as `--repair 3` if no number follows."""
    end = list(words).index("--") if "--" in words else len(words)  # the words after it belong to another command
    expanded: list[str] = []
    for word, following in zip(words[:end], [*words[1:end], ""], strict=False):
        expanded.append(word)
        if word in _DEFAULT_NUMBERS and not following.isdigit():
            expanded.append(_DEFAULT_NUMBERS[word])
    return [*expanded, *words[end:]]


def _invoke(app: Callable[..., Any], program: str, words: list[str]) -> int:
    # Here and not above: an unknown command is answered without loading typer and Rich.
    from typer import Abort, Exit, TyperException

    try:
        # Not standalone: typer would exit the process itself, with codes and texts of its own.
        result = app(words, prog_name=program, standalone_mode=False)
    except Exit as end:
        return int(end.exit_code)
    except Abort:
        return fail("stopped", STOPPED)
    except SystemExit:  # typer and Rich end the process, without a word, if the reader of the output has gone
        raise BrokenPipeError from None
    except TyperException as error:
        return fail(f"{error.format_message()} Try '{program} --help'.", USER_ERROR)
    return result if isinstance(result, int) else 0


def fail(sentence: str, code: int) -> int:
    """Print the sentence on stderr, its label in red on a terminal; return the code."""
    red, plain = ("\033[31m", "\033[0m") if sys.stderr.isatty() else ("", "")
    print(f"{red}error:{plain} {sentence}", file=sys.stderr)
    return code


def _quiet_libraries() -> None:
    for name in _VARIABLES.keys() - os.environ.keys():
        os.environ[name] = _VARIABLES[name]
        SET_BY_CLI.add(name)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for library in ("torch.onnx", "onnxscript", "httpx", "timm"):
        logging.getLogger(library).setLevel(logging.ERROR)
