"""Running a command: whatever it raises becomes one sentence on stderr and an exit code."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from clearsight.cli.other_words import flags_of, translate, translate_command
from clearsight.core import errors
from clearsight.core.errors import BadChoice, ClearsightError
from clearsight.core.safe_text import SafeFormatter, printable, printable_line
from clearsight.core.secrets import redact
from clearsight.core.stop import END_SIGNALS, Signalled, handling

# Exit codes. 2 is also what typer and most shells use for a wrong command line; 130 is 128 + SIGINT.
FAILURE, USER_ERROR, STOPPED = 1, 2, 130

# Flags that may stand without a value, the value that this means, and the form of a value that belongs to the flag.
_DEFAULT_VALUES = {"--repair": ("3", re.compile(r"\d+")), "--resume": ("last", re.compile(r"[^-].*"))}
_NEAR = 0.75  # similarity of two flags without their dashes: "epoch" and "epochs" have 0.91, "dry" and "lr" 0.4
_ANYTHING = re.compile(r".*", re.DOTALL)

# Read when torch is loaded; a value of the user's stays.
_VARIABLES = {
    "OMP_WAIT_POLICY": "passive",  # spinning threads cost a factor of ten when anything else runs on the cores
    "KINETO_LOG_LEVEL": "99",  # or torch's tracer writes to stderr about GPUs that the machine does not have
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
SET_BY_CLI: set[str] = set()  # the variables that this process has set for itself

_ENDS = tuple(number for number in END_SIGNALS if number != signal.SIGINT)  # Python itself raises KeyboardInterrupt

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def run_command(name: str, words: Sequence[str], commands: Mapping[str, tuple[str, str]]) -> int:
    """Run a command and return its exit code; an error leaves one sentence on stderr."""
    try:
        name, *words = translate_command([name, *words], commands)
        if name not in commands:
            raise BadChoice(f"clearsight {name}", "no such command", got=name, allowed=commands)
        _quiet_libraries()
        with handling(_ENDS, Signalled.raise_from):
            module = importlib.import_module(commands[name][0])
            return _invoke(module.app, name, with_default_values(words))
    except ClearsightError as error:
        return fail(str(error), FAILURE if isinstance(error, errors.NOT_MISTAKES) else USER_ERROR)
    except Signalled as stopped:
        return fail(str(stopped), 128 + stopped.number)
    except KeyboardInterrupt:
        return fail("stopped", STOPPED)
    except BrokenPipeError:
        raise  # to `main`: the reader of our output has gone, which is no problem of the system
    except Exception as error:  # the edge of the process
        return _fail_with(error)


def _fail_with(error: Exception) -> int:
    """Print an error that no part of clearsight has raised on purpose; return the exit code."""
    if (shortage := errors.out_of_memory(error)) is not None:
        return fail(str(shortage), FAILURE)
    if isinstance(error, OSError):
        # A problem of the system, not a bug: a folder without write permission, a disk that is full.
        path = f"{error.filename}: " if error.filename else ""
        return fail(f"{path}{error.strerror or error}.", FAILURE if error.errno in _DISK_FULL else USER_ERROR)
    # Any other error is a bug.
    print(redact(printable("".join(traceback.format_exception(error)))), file=sys.stderr, end="")
    return fail("this is a bug in clearsight; please report it with the lines above", FAILURE)


def with_default_values(words: Sequence[str]) -> list[str]:
    """Return the words of a command with `--repair` as `--repair 3`, `--resume` as `--resume last` without a value."""
    end = list(words).index("--") if "--" in words else len(words)  # the words after it belong to another command
    expanded: list[str] = []
    for word, following in zip(words[:end], [*words[1:end], ""], strict=False):
        expanded.append(word)
        value, form = _DEFAULT_VALUES.get(word, ("", _ANYTHING))
        if not form.fullmatch(following):
            expanded.append(value)
    return [*expanded, *words[end:]]


def _invoke(app: Any, name: str, words: list[str]) -> int:
    # Here and not above: an unknown command is answered without loading typer and Rich.
    from typer import Abort, Exit, TyperException
    from typer.main import get_command

    program, command = f"clearsight {name}", get_command(app)
    try:
        # Not standalone: typer would exit the process itself, with codes and texts of its own.
        result = command.main(translate(name, words, flags_of(command)), prog_name=program, standalone_mode=False)
    except Exit as end:
        return int(end.exit_code)
    except Abort:
        return fail("stopped", STOPPED)
    except SystemExit:  # typer and Rich end the process, without a word, if the reader of the output has gone
        raise BrokenPipeError from None
    except TyperException as error:
        if near := getattr(error, "possibilities", None):  # of a flag that does not exist
            # typer compares the dashes too, so that --dry is near --lr.
            error.possibilities = near_flags(error.option_name, near)  # type: ignore[attr-defined]
        return fail(f"{error.format_message().rstrip('.')}. Try '{program} --help'.", USER_ERROR)
    return result if isinstance(result, int) else 0


def near_flags(flag: str, flags: Iterable[str]) -> list[str]:
    """Return the flags that may be meant by one that does not exist."""
    plain = flag.lstrip("-")
    return [near for near in flags if SequenceMatcher(None, plain, near.lstrip("-")).ratio() >= _NEAR]


def fail(sentence: str, code: int) -> int:
    """Print the sentence on stderr, its label in red on a terminal; return the code."""
    red, plain = ("\033[31m", "\033[0m") if sys.stderr.isatty() else ("", "")
    print(f"{red}error:{plain} {printable_line(sentence)}", file=sys.stderr)
    return code


def _quiet_libraries() -> None:
    for name in _VARIABLES.keys() - os.environ.keys():
        os.environ[name] = _VARIABLES[name]
        SET_BY_CLI.add(name)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(SafeFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for library in ("torch.onnx", "onnxscript", "httpx", "timm"):
        logging.getLogger(library).setLevel(logging.ERROR)
