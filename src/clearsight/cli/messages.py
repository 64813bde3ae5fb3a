"""Running a command and turning whatever it raises into one sentence and an exit code."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence

from clearsight.core import errors
from clearsight.core.errors import BadChoice, ClearsightError

OURS, USERS, STOPPED = 1, 2, 130

# What a flag means that is said without the number it can take.
_BARE = {"--repair": "3"}

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

# The rest of the kinds are things a user can put right: exit code 2.
_NOT_THE_USERS_MISTAKE = (errors.Diverged, errors.DiskFull)


def run_command(name: str, words: Sequence[str], commands: Mapping[str, tuple[str, str]]) -> int:
    """Run one command with its words; returns the exit code and leaves one sentence on stderr when it failed."""
    try:
        if name not in commands:
            raise BadChoice(f"clearsight {name}", "there is no such command", got=name, allowed=commands)
        _quiet_libraries()
        module = importlib.import_module(commands[name][0])
        return _invoke(module.app, f"clearsight {name}", spelled_out(words))
    except ClearsightError as error:
        return fail(str(error), OURS if isinstance(error, _NOT_THE_USERS_MISTAKE) else USERS)
    except KeyboardInterrupt:
        return fail("stopped", STOPPED)
    except BrokenPipeError:
        # Whoever read our output has enough of it (`| head`); nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OURS
    except OSError as error:
        # The world outside, not a mistake of ours: a folder that may not be written, a disk that is full.
        where = f"{error.filename}: " if error.filename else ""
        return fail(f"{where}{error.strerror or error}.", OURS if error.errno in _NO_SPACE else USERS)
    except Exception:
        traceback.print_exc()
        return fail("this is a mistake in clearsight, not yours; please report it with the lines above", OURS)


def spelled_out(words: Sequence[str]) -> list[str]:
    """The words of a command with `--repair` as `--repair 3`, where no number follows."""
    own = list(words).index("--") if "--" in words else len(words)  # what comes after it is somebody else's
    told: list[str] = []
    for word, following in zip(words[:own], [*words[1:own], ""], strict=False):
        told += [word, _BARE[word]] if word in _BARE and not following.isdigit() else [word]
    return [*told, *words[own:]]


def _invoke(app: object, program: str, words: list[str]) -> int:
    from typer import Abort, Exit, Typer, TyperException

    assert isinstance(app, Typer)
    try:
        result = app(words, prog_name=program, standalone_mode=False)
    except Exit as end:
        return int(end.exit_code)
    except Abort:
        return fail("stopped", STOPPED)
    except TyperException as error:
        return fail(f"{error.format_message()} Try '{program} --help'.", USERS)
    return result if isinstance(result, int) else 0


def fail(sentence: str, code: int) -> int:
    """Print the sentence on stderr, in red on a terminal; returns the code."""
    red, plain = ("\033[31m", "\033[0m") if sys.stderr.isatty() else ("", "")
    print(f"{red}error:{plain} {sentence}", file=sys.stderr)
    return code


def _quiet_libraries() -> None:
    # Spinning OpenMP threads cost a factor of ten when anything else runs on the cores; read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # The tracer tells stderr of GPUs that are not there.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for noisy in ("torch.onnx", "onnxscript", "httpx", "timm"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
