"""Errors for users: what is wrong, with which value, what is allowed, and what to do.

No exit codes and no HTTP here: `cli.messages` and `serving.app` decide what a kind of error means to their callers.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from clearsight.core.secrets import redact

_MAX_LISTED = 14  # allowed values in a sentence; the rest are counted
_MAX_NAMES = 200  # above it the sentence has only their number: twelve of 1,300 model names help nobody


class ClearsightError(Exception):
    """Base of all errors that clearsight raises on purpose.

    what: the flag, file or setting, as the user wrote it ("--freeze layer5", "dogs/test").
    problem: the problem with it, in a few words.
    got: the wrong value; the sentence names the nearest of `allowed`.
    allowed: the values that are accepted; the sentence lists them if they are few.
    fix: what to do, as a sentence.
    """

    def __init__(
        self, what: str, problem: str, *, got: object = None, allowed: Iterable[object] = (), fix: str = ""
    ) -> None:
        self.what, self.problem, self.got, self.fix = what, problem, got, fix
        self.allowed = tuple(str(value) for value in allowed)
        super().__init__(redact(self._sentence()))  # it may quote a URL that holds a password

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process boundaries; the default would call the class with the finished sentence.
        again = partial(type(self), got=self.got, allowed=self.allowed, fix=self.fix)
        return again, (self.what, self.problem)

    def _sentence(self) -> str:
        sentence = _with_full_stop(f"{self.what}: {self.problem}")
        if len(self.allowed) > _MAX_NAMES:
            sentence += f" {len(self.allowed):,} names are known."
        elif self.allowed:
            sentence += _with_full_stop(f" Allowed: {listed(self.allowed, _MAX_LISTED)}")
        near = nearest(str(self.got), self.allowed) if self.got is not None else None
        if near is not None:
            sentence += f" Did you mean {near}?"
        return f"{sentence} {self.fix}".rstrip()


def listed(names: Sequence[str], most: int) -> str:
    """Return the first `most` names, and the number of the others: "a, b and 7 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _with_full_stop(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def nearest(got: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name closest to `got`, or None if none is close (difflib ratio under 0.6)."""
    options = {option.lower(): option for option in allowed}  # "ADAM" means adam
    if got.lower() in options:
        # No hint for a name that is allowed: something else is wrong with it.
        return None if got in options.values() else options[got.lower()]
    # 0.6 accepts about one wrong letter in three; less similar names are rarely what was meant.
    close = difflib.get_close_matches(got.lower(), options, n=1, cutoff=0.6)
    return options[close[0]] if close else None


class BadChoice(ClearsightError):
    """A name that is not among the allowed ones."""


class BadValue(ClearsightError):
    """A value of the wrong type or outside its range."""


class BadShape(ClearsightError):
    """Arrays whose shapes do not fit."""


class BadData(ClearsightError):
    """A dataset that cannot be used as it is."""


class BadImage(ClearsightError):
    """One image that cannot be decoded; `problem` has the reason."""


class UnsupportedType(ClearsightError):
    """A media type that the endpoint does not read or write."""


class TooLarge(ClearsightError):
    """A request body, an image or an archive over its limit."""


class EmptyInput(ClearsightError):
    """Nothing to work on."""


class NotFound(ClearsightError):
    """A path that does not exist."""


class BadArchive(ClearsightError):
    """An archive that is damaged, or that would write outside its folder."""


class BadBundle(ClearsightError):
    """A model folder or archive that is incomplete or not a bundle."""


class MissingExtra(ClearsightError):
    """An optional package that is not installed; `fix` names the extra."""


class WeightsUnavailable(ClearsightError):
    """Pretrained weights that are neither on disk nor downloadable."""


class NotResumable(ClearsightError):
    """A run or a study that cannot be continued or replaced."""


class StudyUnavailable(ClearsightError):
    """A study that another process works on, or whose storage is locked or does not answer."""


class Diverged(ClearsightError):
    """Training reached NaN or infinity; the best weights before that are intact."""


class DiskFull(ClearsightError):
    """The disk is full; everything written before is intact."""


class OutOfMemory(ClearsightError):
    """The memory of the machine, the GPU or a limit on the process is used up; everything written before is intact."""


@contextmanager
def as_bad_bundle(what: str, problem: str) -> Iterator[None]:
    """Turn an error of a library within the block into BadBundle: the problem, with the library's reason in brackets.

    For exporters and runtimes, whose errors have no common base below Exception. Errors of clearsight pass through.
    """
    try:
        yield
    except ClearsightError:
        raise
    except Exception as error:
        reason = (" ".join(str(error).split()) or type(error).__name__)[:200].rstrip(".")
        raise BadBundle(what, f"{problem} ({reason})") from error


# A user cannot correct these; all other errors are mistakes that the sentence helps to correct.
NOT_MISTAKES = (Diverged, DiskFull, OutOfMemory)

# Libraries in C++ have no error class of their own for it. Lower case.
_NO_MEMORY = (
    *("out of memory", "allocate memory", "not enough memory", "insufficient memory", "bad_alloc", "bad allocation"),
    *("failed to allocate", "can't start new thread", "failed to map segment", "bus error"),
)


def out_of_memory(error: BaseException, *, fix: str = "") -> OutOfMemory | None:
    """Return an error for users where `error` says, in whatever class, that no memory is left; None for any other."""
    told = isinstance(error, RuntimeError | OSError | ImportError) and any(t in str(error).lower() for t in _NO_MEMORY)
    if not told and not isinstance(error, MemoryError):
        return None
    lines = str(error).strip().splitlines()
    detail = f" ({lines[0][:200].rstrip('.')})" if lines else ""
    fix = fix or "Lower --batch-size, --image-size, --workers or --parallel, close other programs, or raise the limit."
    return OutOfMemory("memory", f"no more could be had{detail}", fix=fix)


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtra:
    return MissingExtra(
        purpose, f"needs the package {package}", fix=f"Install it with: pip install 'clearsight[{extra}]'."
    )
