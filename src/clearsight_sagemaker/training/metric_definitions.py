"""MetricReader: values of metrics in the lines of a log, by the regular expressions of the request."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from clearsight_sagemaker.training.failure import client_error

_FREE_EVENTS = 1000  # of a metric that are passed on at once
_EVENT_SECONDS = 0.1  # between the later ones
_COMPARED_LINES = 20_000  # in which the nearest line of a definition without a match is sought
_WORD = re.compile(r"[A-Za-z]{2,}")


@dataclass(slots=True)
class _Definition:
    """Definition of a metric, and what was found by it. words: of the expression, in lower case."""

    name: str
    pattern: re.Pattern[str]
    words: frozenset[str]
    matched: bool = False
    nearest: str = ""
    likeness: int = 0
    passed: int = 0
    next_time: float = 0.0
    waiting: tuple[float, float] | None = None  # value and time of the last one that was not passed on


@dataclass(slots=True)
class MetricReader:
    """Finds the values of metrics in lines.

    emit: takes name, value and time in seconds of the epoch. After the first 1000 values of a metric, ten a second
    are passed on, and the last one in any case: it decides.
    """

    emit: Callable[[str, float, float], None]
    definitions: list[_Definition] = field(default_factory=list)
    _compared: int = 0

    @classmethod
    def of(cls, definitions: Sequence[Mapping[str, str]], emit: Callable[[str, float, float], None]) -> MetricReader:
        """Return a reader for MetricDefinitions of a request. Raises JobFailed for a bad regular expression."""
        return cls(emit, [_definition(entry["Name"], entry["Regex"]) for entry in definitions])

    def read(self, lines: Sequence[str]) -> None:
        """Search lines, each by every expression."""
        if not self.definitions:
            return
        now = time.time()
        for line in lines:
            for definition in self.definitions:
                value = _value(definition.pattern, line)
                if value is not None:
                    definition.matched = True
                    self._pass_on(definition, value, now)
            self._compare(line)

    def finish(self) -> list[str]:
        """Pass on what is left; return a sentence for each definition that no line matched."""
        for definition in self.definitions:
            if definition.waiting is not None:
                self.emit(definition.name, *definition.waiting)
                definition.waiting = None
        return [_without_match(definition) for definition in self.definitions if not definition.matched]

    def _pass_on(self, definition: _Definition, value: float, now: float) -> None:
        if definition.passed >= _FREE_EVENTS and now < definition.next_time:
            definition.waiting = (value, now)
            return
        definition.waiting, definition.next_time = None, now + _EVENT_SECONDS
        definition.passed += 1
        self.emit(definition.name, value, now)

    def _compare(self, line: str) -> None:
        """Remember a line that is nearer to a definition without a match than those before it."""
        missing = [definition for definition in self.definitions if not definition.matched]
        if not missing or self._compared >= _COMPARED_LINES:
            return
        self._compared += 1
        words = {word.lower() for word in _WORD.findall(line)}
        for definition in missing:
            likeness = len(words & definition.words)
            if likeness > definition.likeness:
                definition.likeness, definition.nearest = likeness, line[:200]


def _definition(name: str, expression: str) -> _Definition:
    try:
        pattern = re.compile(expression)
    except (re.error, RecursionError, OverflowError) as error:
        raise client_error(f"metric {name!r}: {expression!r} is no regular expression ({error}).") from None
    # Without escapes and classes, whose letters are no words.
    words = _WORD.findall(re.sub(r"\\.|\[[^\]]*\]", " ", expression))
    return _Definition(name, pattern, frozenset(word.lower() for word in words))


def _value(pattern: re.Pattern[str], line: str) -> float | None:
    """Return the number in the first group of the first match, or in all of it; None for none or no finite one."""
    found = pattern.search(line)
    if found is None:
        return None
    try:
        value = float(found.group(1 if pattern.groups else 0))
    except (ValueError, TypeError):  # no number; a group that took no part
        return None
    return value if math.isfinite(value) else None


def _without_match(definition: _Definition) -> str:
    text = f"metric {definition.name!r}: no line gave a number for {definition.pattern.pattern}"
    return f"{text} - the nearest line: {definition.nearest}" if definition.nearest else text
