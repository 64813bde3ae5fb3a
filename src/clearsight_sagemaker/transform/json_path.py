"""JsonPath: the part of JSONPath that filters of batch transform use.

`$` alone, then any number of `.name`, `['name']`, `['name','other']`, `[0]`, `[-1]`, `[0,2]`, `[1:3]`, `[:-1]`, `.*`
and `[*]`. A path of several values gives a list. Filters `?()`, scripts and `..` are not in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clearsight.core.errors import BadValue

Step = slice | tuple[int | str, ...] | None  # None for all values

_NAME = re.compile(r"\.([A-Za-z_][\w-]*|\*)")
_BRACKET = re.compile(r"\[((?:[^\]'\"]|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")*)\]")
_SLICE = re.compile(r"\s*(-?\d{1,9})?\s*:\s*(-?\d{1,9})?\s*(?::\s*(-?\d{1,9})?\s*)?")
_ITEM = re.compile(r"\s*(?:(-?\d{1,9})|'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")\s*")


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A path. text: as it was written.  steps: from the root on."""

    text: str
    steps: Sequence[Step]

    @classmethod
    def of(cls, text: str, name: str) -> JsonPath:
        """Return the path of a text. name: of the setting. Raises BadValue for a text that is none."""
        if not text.startswith("$"):
            raise BadValue(f"{name} {text!r}", "a JSONPath must begin with $")
        steps: list[Step] = []
        place = 1
        while place < len(text):
            found = _NAME.match(text, place) or _BRACKET.match(text, place)
            step = _step(found) if found else ()
            if found is None or step == ():
                allowed = "Allowed: .name, ['name'], [0], [0,2], [1:3], .*, [*]."
                raise BadValue(f"{name} {text!r}", f"it cannot be read from {text[place:]!r} on", fix=allowed)
            steps.append(step)
            place = found.end()
        return cls(text, tuple(steps))

    @property
    def is_root(self) -> bool:
        """True for `$`, which changes nothing."""
        return not self.steps

    @property
    def is_plural(self) -> bool:
        """True for a path that gives a list, even of one value."""
        return any(not isinstance(step, tuple) or len(step) > 1 for step in self.steps)

    def of_value(self, value: Any) -> Any:
        """Return what the path gives in a value of JSON. Raises BadValue where there is nothing."""
        found = [value]
        for step in self.steps:
            found = [part for item in found for part in _parts(item, step)]
        if self.is_plural:
            return found
        if not found:
            raise BadValue(self.text, "there is nothing at this path of the record")
        return found[0]


def _step(found: re.Match[str]) -> Step:
    """Return the step of a match, () for a bracket that holds none."""
    text = found[1].strip()
    if text == "*":
        return None
    if found.re is _NAME:
        return (text,)
    if (bounds := _SLICE.fullmatch(text)) is not None and bounds[3] != "0":
        return slice(*(int(bound) if bound else None for bound in bounds.groups()))
    items: list[int | str] = []
    place = 0
    while item := _ITEM.match(text, place):
        number, *names = item.groups()
        name = next((name for name in names if name is not None), "")
        items.append(int(number) if number else re.sub(r"\\(.)", r"\1", name))
        place = item.end()
        if place == len(text):
            return tuple(items)
        if text[place] != ",":
            break
        place += 1
    return ()


def _parts(value: Any, step: Step) -> Iterator[Any]:
    if step is None:
        yield from value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    elif isinstance(step, slice):
        yield from value[step] if isinstance(value, list) else ()
    else:
        for item in step:
            if isinstance(item, int):
                if isinstance(value, list) and -len(value) <= item < len(value):
                    yield value[item]
            elif isinstance(value, dict) and item in value:
                yield value[item]


def read_json_text(text: str) -> Any:
    """Return the value of a JSON text. Raises BadValue for one that is damaged."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadValue("the record", f"it is not JSON ({error})") from None
