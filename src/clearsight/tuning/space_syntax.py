"""How a space is written: "lr=log(1e-5,1e-1)", "batch_size=[16,32,64]", "momentum=float(0.5,0.99) when optimizer=sgd".

    log(A,B)         by orders of magnitude; whole numbers where the field takes nothing else
    float(A,B)       evenly; float(A,B,STEP) in steps
    int(A,B)         whole numbers; int(A,B,STEP) in steps
    [A,B,C]          one of these; a value with a comma in it stands in quotes
    ... when X=A|B   only where X is A or B

In YAML and in Python the same words stand behind their field, lists may be lists, and a choice whose values bring
fields of their own is a mapping: {"optimizer": {"sgd": {"momentum": "float(0.5,0.99)"}, "adamw": {}}}.
"""

from __future__ import annotations

import csv
import math
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from clearsight.core.errors import BadChoice, BadValue, EmptyInput
from clearsight.core.recipe import fields
from clearsight.core.settings import choices
from clearsight.core.space import Choice, Dimension, Domain, FloatRange, IntRange, Space, Value

_RANGE = re.compile(r"(?P<kind>[a-z]+)\s*\((?P<inside>[^()]*)\)")
_KINDS = ("log", "float", "int")
_EXAMPLES = '"lr=log(1e-5,1e-1)", "epochs=int(5,40)" or "batch_size=[16,32,64]"'

When = Mapping[str, tuple[Value, ...]]


def usual_space(names: Iterable[str]) -> Space:
    """The space of the fields' own ranges, as the recipe declares them (`--tune lr,batch_size`).

    Raises BadChoice for an unknown field and for one without a usual range.
    """
    known = {name: info for _, name, info in fields()}
    ranged = {name: text for name, info in known.items() if (text := _usual(info))}
    dimensions = []
    for name in names:
        if name not in known:
            raise BadChoice(f"--tune {name}", "there is no such setting", got=name, allowed=ranged)
        if name not in ranged:
            fix = f'Say its values: --space "{name}=[A,B,C]".'
            raise BadChoice(f"--tune {name}", "it has no usual range", got=name, allowed=ranged, fix=fix)
        dimensions.append(Dimension(name=name, domain=domain(name, ranged[name])))
    return Space(tuple(dimensions))


def _usual(info: FieldInfo) -> str:
    extra = info.json_schema_extra
    said = str(extra.get("search", "")) if isinstance(extra, dict) else ""
    return said or (f"[{','.join(words)}]" if (words := choices(info)) else "")


def parse_space(texts: Iterable[str]) -> Space:
    """The space of `--space` words, one dimension each."""
    dimensions = []
    for text in texts:
        name, equals, rest = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise BadValue(f"--space {text!r}", "it names no values", fix=f"Write {_EXAMPLES}.")
        body, _, condition = re.sub(r"\s+(when|if)\s+", "\0", rest, count=1).partition("\0")
        when = _conditions(name, condition) if condition else {}
        dimensions.append(Dimension(name=name, domain=domain(name, body), when=when))
    return Space(tuple(dimensions))


def space_from_mapping(values: Mapping[str, Any]) -> Space:
    """The space of a mapping, from YAML or Python. Raises BadValue for what is no domain."""
    if not isinstance(values, Mapping):
        raise BadValue("--space", "a space is a mapping of settings", fix=f"Such as {_EXAMPLES}.")
    return Space(tuple(_nested(values, {})))


def format_dimension(dimension: Dimension) -> str:
    """A dimension as it is typed behind --space."""
    own = dimension.domain
    if isinstance(own, Choice):
        body = f"[{','.join(_quoted(str(value)) for value in own.values)}]"
    else:
        kind = "log" if own.log else "int" if isinstance(own, IntRange) else "float"
        stepped = own.step is not None and not own.log and not (isinstance(own, IntRange) and own.step == 1)
        numbers = (own.low, own.high, own.step) if stepped else (own.low, own.high)
        body = f"{kind}({','.join(map(_number, numbers))})"
    conditions = [f"{name}={'|'.join(map(str, values))}" for name, values in dimension.when.items()]
    return f"{dimension.name}={body}" + (f" when {' and '.join(conditions)}" if conditions else "")


def _quoted(word: str) -> str:
    bare = word and word == word.strip() and not set(word) & set(',"')
    return word if bare else '"' + word.replace('"', '""') + '"'


def _number(value: float | None) -> str:
    """The shortest spelling that is read as the same number."""
    short = f"{value:g}"
    return short if float(short) == value else str(value)


def merge_spaces(*spaces: Space) -> Space:
    """One space of several; what is said later about a field takes the place of what was said before."""
    last: dict[str, int] = {name: place for place, space in enumerate(spaces) for name in space.names}
    kept = [one for place, space in enumerate(spaces) for one in space.dimensions if last[one.name] == place]
    return Space(tuple(_after_their_conditions(kept)))


def domain(name: str, text: str) -> Domain:
    """The domain that a word says, of the kind of values that the field takes. Raises BadValue or EmptyInput."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        return _choice(name, next(csv.reader([text[1:-1]], skipinitialspace=True), []))
    match = _RANGE.fullmatch(text)
    if not match:
        raise BadValue(f"--space {name}={text}", "it is neither a range nor a list", fix=f"Write {_EXAMPLES}.")
    if match["kind"] not in _KINDS:
        known = [f"{kind}(A,B)" for kind in _KINDS]
        raise BadChoice(f"--space {name}={text}", "there is no such range", got=f"{match['kind']}(A,B)", allowed=known)
    return _range(name, text, match["kind"], match["inside"])


def _range(name: str, text: str, kind: str, inside: str) -> Domain:
    what, log = f"--space {name}={text}", kind == "log"
    try:
        numbers = [float(part) for part in inside.split(",")]
    except ValueError:
        raise BadValue(what, "its ends are no numbers", fix=f"Write {_EXAMPLES}.") from None
    if not all(map(math.isfinite, numbers)):
        raise BadValue(what, "a range must end somewhere", fix=f"Write {_EXAMPLES}.")
    if len(numbers) not in ((2,) if log else (2, 3)):
        raise BadValue(what, f"a range has two ends{'' if log else ', and perhaps a step'}", fix=f"Write {_EXAMPLES}.")
    low, high, *step = numbers
    whole = _takes(name) == "int"
    if kind == "float" and whole:
        raise BadValue(what, f"{name} takes whole numbers", fix=f"Write int({low:g},{high:g}).")
    if kind == "int" or whole:
        if any(number != int(number) for number in numbers):
            raise BadValue(what, "its ends are not whole numbers")
        return IntRange(low=int(low), high=int(high), log=log, step=int(step[0]) if step else 1)
    return FloatRange(low=low, high=high, log=log, step=step[0] if step else None)


def _choice(name: str, words: Sequence[Any]) -> Choice:
    return Choice(values=tuple(_value(name, word) for word in words))


def _value(name: str, word: Any) -> Value:
    """A word as the field takes it; one that it does not take stays a word, and the recipe says so later."""
    if isinstance(word, list | tuple):
        return ",".join(map(str, word))
    text, kind = str(word).strip(), _takes(name)
    if word is None or (text.lower() in ("none", "default") and kind in ("int", "float", "bool")):
        return None
    if kind == "bool" and text.lower() in ("true", "false", "yes", "no", "on", "off"):
        return text.lower() in ("true", "yes", "on")
    try:
        return int(text) if kind == "int" else float(text) if kind == "float" else text
    except ValueError:
        return text


def _takes(name: str) -> str:
    """The kind of values of a field: int, float, bool, or str for words and everything else."""
    info = next((info for _, field, info in fields() if field == name), None)
    if info is None:
        return "str"  # there is no such field: the space's own check says so with the nearest name
    own = info.annotation
    kinds = get_args(own) if get_origin(own) in (Union, types.UnionType) else (own,)
    if any(get_origin(kind) is Literal for kind in kinds):
        return "str"
    return next((kind.__name__ for kind in (bool, int, float) if kind in kinds), "str")


def _conditions(name: str, text: str) -> dict[str, tuple[Value, ...]]:
    when = {}
    for part in re.split(r"\s+and\s+", text.strip()):
        other, equals, words = part.partition("=")
        other = other.strip().replace("-", "_")
        if not equals or not words.strip():
            fix = 'Write "momentum=float(0.5,0.99) when optimizer=sgd".'
            raise BadValue(f"--space {name}", f"its condition {part!r} names no value", fix=fix)
        when[other] = tuple(_value(other, word) for word in words.strip().strip("[]").split("|"))
    return when


def _nested(values: Mapping[str, Any], when: When) -> Iterable[Dimension]:
    for key, said in values.items():
        name = str(key).replace("-", "_")
        if isinstance(said, Mapping):
            yield Dimension(name=name, domain=_choice(name, list(said)), when=when)
            for word, inner in said.items():
                if not isinstance(inner, Mapping | None):
                    fix = 'For example {"sgd": {"momentum": "float(0.5,0.99)"}}.'
                    raise BadValue(f"--space {name}", f"what {word} brings is no mapping of settings", fix=fix)
                yield from _nested(inner or {}, {**when, name: (_value(name, word),)})
        elif isinstance(said, list | tuple):
            yield Dimension(name=name, domain=_choice(name, said), when=when)
        elif isinstance(said, FloatRange | IntRange | Choice):
            yield Dimension(name=name, domain=said, when=when)
        elif isinstance(said, str):
            body, _, condition = re.sub(r"\s+(when|if)\s+", "\0", said, count=1).partition("\0")
            own = _conditions(name, condition) if condition else {}
            yield Dimension(name=name, domain=domain(name, body), when={**when, **own})
        elif said is None:
            raise EmptyInput(f"--space {name}", "there is nothing to choose from", fix=f"Write {_EXAMPLES}.")
        else:
            raise BadValue(f"--space {name}", f"{said!r} is neither a range nor a list", fix=f"Write {_EXAMPLES}.")


def _after_their_conditions(dimensions: Sequence[Dimension]) -> Iterable[Dimension]:
    """The dimensions with each behind those that its condition names, otherwise in their order."""
    waiting, seen = list(dimensions), set[str]()
    names = {one.name for one in dimensions}
    while waiting:
        ready = next((one for one in waiting if all(w in seen or w not in names for w in one.when)), waiting[0])
        waiting.remove(ready)
        seen.add(ready.name)
        yield ready
