"""The errors a user can meet: one sentence that says what, which value, what is allowed and how to go on.

No exit codes and no HTTP here: doors (`cli.messages`, `serving.app`) decide what a kind means to their caller.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LISTED = 12  # more allowed values than this are cut in the sentence
_COUNTED = 200  # and of more than this only the number is said: twelve of 1,300 model names help nobody


class ClearsightError(Exception):
    """Base of everything clearsight raises on purpose.

    what: the thing that is wrong, in the user's own spelling ("--freeze layer5", "dogs/test").
    problem: what is wrong with it.
    got: the offending value, used to find the nearest of `allowed`.
    allowed: the values that would have been fine; listed when few.
    fix: what to do, as a sentence.
    """

    def __init__(
        self, what: str, problem: str, *, got: object = None, allowed: Iterable[object] = (), fix: str = ""
    ) -> None:
        self.what, self.problem, self.got, self.fix = what, problem, got, fix
        self.allowed = tuple(str(value) for value in allowed)
        super().__init__(self._sentence())

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process boundaries; the default recipe would call the class with the finished sentence.
        return (_rebuild, (type(self), self.what, self.problem, self.got, self.allowed, self.fix))

    def _sentence(self) -> str:
        parts = [f"{self.what}: {self.problem}"]
        if len(self.allowed) > _COUNTED:
            parts.append(f"; {len(self.allowed):,} names are known")
        elif self.allowed:
            shown = ", ".join(self.allowed[:_LISTED])
            more = f" and {len(self.allowed) - _LISTED} more" if len(self.allowed) > _LISTED else ""
            parts.append(f"; allowed: {shown}{more}")
        sentence = "".join(parts)
        if not sentence.endswith((".", "!", "?")):
            sentence += "."
        near = nearest(str(self.got), self.allowed) if self.got is not None else None
        if near is not None:
            sentence += f" Did you mean {near}?"
        return f"{sentence} {self.fix}".rstrip()


def _rebuild(
    kind: type[ClearsightError], what: str, problem: str, got: object, allowed: tuple[str, ...], fix: str
) -> ClearsightError:
    return kind(what, problem, got=got, allowed=allowed, fix=fix)


def nearest(got: str, allowed: Iterable[str]) -> str | None:
    """The allowed spelling closest to `got`, or None when nothing is close (difflib ratio under 0.6)."""
    options = {option.lower(): option for option in allowed}
    if got.lower() in options:
        return None if got in options.values() else options[got.lower()]
    close = difflib.get_close_matches(got.lower(), options, n=1, cutoff=0.6)
    return options[close[0]] if close else None


class BadChoice(ClearsightError):
    """A name that is not one of a known set."""


class BadValue(ClearsightError):
    """A value of the wrong type or outside its range."""


class BadShape(ClearsightError):
    """Arrays that do not fit each other."""


class BadData(ClearsightError):
    """A dataset that cannot be used as it is."""


class BadImage(ClearsightError):
    """One image that cannot be decoded; carries why."""


class UnsupportedType(ClearsightError):
    """A media type that the endpoint does not read or write."""


class TooLarge(ClearsightError):
    """A body, an image or an archive over its limit."""


class EmptyInput(ClearsightError):
    """Nothing to work on."""


class NotFound(ClearsightError):
    """A path that is not there."""


class BadArchive(ClearsightError):
    """An archive that would write outside its folder, or is damaged."""


class BadBundle(ClearsightError):
    """A model folder or archive that is incomplete or not a bundle."""


class MissingExtra(ClearsightError):
    """An optional package that is not installed; names the extra."""


class WeightsUnavailable(ClearsightError):
    """Pretrained weights that are neither on disk nor to be had."""


class NotResumable(ClearsightError):
    """A run that cannot be gone on with."""


class StudyUnavailable(ClearsightError):
    """A study that somebody else works on, or whose storage is locked or does not answer."""


class Diverged(ClearsightError):
    """Training reached NaN or infinity; the best weights before it are whole."""


class DiskFull(ClearsightError):
    """No room to write; what was written before is whole."""


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtra:
    """The one wording for an optional package that is needed now."""
    return MissingExtra(
        purpose, f"needs the package {package}", fix=f"Install it with: pip install 'clearsight[{extra}]'."
    )
