"""YAML of people: recipes and search spaces, which may come from others.

A plain word is what it looks like: `no`, `on`, `1:30`, `012` and `1.50` stay text, which YAML 1.1 reads as false, true,
90, 10 and 1.5. Settings that are numbers or switches read such text themselves.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

from clearsight.core.errors import BadValue, NotFound

MAX_BYTES = 1 << 20  # of a file
MAX_DEPTH = 20  # of lists and mappings in each other
MAX_NODES = 100_000  # values, those behind an alias counted each time

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.nan")
_PREFIX = "tag:yaml.org,2002:"


class _TextLoader(yaml.SafeLoader):
    """Loader without the readings of YAML 1.1 that surprise people; refuses keys that are given twice."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}  # type: ignore[misc]  # the stubs call it an attribute
    # Not those of binary data, sets and dates, which no setting takes and which raise errors of their own.
    yaml_constructors: ClassVar[dict[Any, Any]] = {
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, yaml.Mark] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != f"{_PREFIX}merge":
                if key.value in seen:
                    line = f"lines {seen[key.value].line + 1} and {key.start_mark.line + 1}"
                    raise _Refused(f"{key.value} is set twice, in {line}", "Keep one of them.")
                seen[key.value] = key.start_mark
        return super().construct_mapping(node, deep=deep)


class _Refused(Exception):
    """A file that is YAML and is not accepted. arguments: the problem, and what to do."""


def _float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float | str:
    """Return the number of a scalar that is written as Python writes it; other spellings may be a name, "1.50"."""
    number: float = loader.construct_yaml_float(node)
    text = str(node.value)
    is_special = "e" in text.lower() or "n" in text.lower()  # an exponent, .inf or .nan
    return number if is_special or repr(number) == text else text


for tag, pattern, first in (
    ("null", _NULL, ["~", "n", "N", ""]),
    ("bool", _BOOL, list("tTfF")),
    ("int", _INT, list("-0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
    ("merge", re.compile("<<"), ["<"]),
):
    _TextLoader.add_implicit_resolver(f"{_PREFIX}{tag}", re.compile(f"(?:{pattern.pattern})$"), first)
_TextLoader.add_constructor(f"{_PREFIX}float", _float)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, {} for an empty one.

    Raises NotFound without the file; BadValue for other content, a key that is given twice, and a file over a limit:
    MAX_BYTES, MAX_DEPTH, MAX_NODES.
    """
    if not path.is_file():
        raise NotFound(str(path), "no such file")
    if path.stat().st_size > MAX_BYTES:
        raise BadValue(str(path), f"larger than {MAX_BYTES:,} bytes, which no file of settings is")
    try:
        values = _load(path.read_text(encoding="utf-8-sig"))
    except _Refused as error:
        problem, fix = error.args
        raise BadValue(str(path), problem, fix=fix) from None
    except (yaml.YAMLError, ValueError, LookupError) as error:  # not UTF-8; a tag with a value that it does not fit
        raise BadValue(str(path), f"not valid YAML ({' '.join(str(error).split())})") from None
    if values is None:  # an empty file is a recipe of defaults
        return {}
    if not isinstance(values, dict):
        raise BadValue(str(path), "must be a mapping of settings, such as 'lr: 0.001'")
    return values


class _TextDumper(yaml.SafeDumper):
    """Writer of what `read_yaml` reads back as equal values: it quotes text that looks like a number to either."""


for first, resolvers in _TextLoader.yaml_implicit_resolvers.items():
    for tag, expression in resolvers:
        _TextDumper.add_implicit_resolver(tag, expression, [first])


def yaml_text(values: dict[str, Any]) -> str:
    """Return the YAML of a mapping, in its order."""
    return yaml.dump(values, Dumper=_TextDumper, sort_keys=False, allow_unicode=True)


def _load(text: str) -> Any:
    _check_depth(text)
    loader = _TextLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _count(node, {}, set()) > MAX_NODES:
            raise _Refused(f"it has more than {MAX_NODES:,} values", "Write fewer aliases (*name).")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_depth(text: str) -> None:
    """Raise _Refused for a document that is nested too deeply; the parser alone does not recurse."""
    depth = 0
    for event in yaml.parse(text, _TextLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _Refused(f"it is nested more than {MAX_DEPTH} levels deep", "Settings need two levels.")


def _count(node: yaml.Node, known: dict[int, int], open_nodes: set[int]) -> int:
    """Return the number of values below a node, those behind an alias each time. Raises _Refused for an endless one."""
    if id(node) in open_nodes:
        raise _Refused("a value contains itself (an alias inside its own anchor)", "Remove the alias.")
    if id(node) not in known:
        open_nodes.add(id(node))
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
        known[id(node)] = 1 + sum(_count(part, known, open_nodes) for part in parts)
        open_nodes.discard(id(node))
    return known[id(node)]
