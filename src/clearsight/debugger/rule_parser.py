"""Rule parser: from the words of a recipe or a flag to rules, the user's own included.

`Overfit`, `Overfit(patience=3)`, SageMaker's `overfit` and `StalledTrainingRule`,
`my_rules.py`, `my_rules.py:Mine(x=1)`.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadChoice, BadValue, NotFound
from clearsight.core.registry import Registry
from clearsight.core.rule import Rule
from clearsight.debugger.rules import RULES
from clearsight.debugger.rules.similar_across_runs import SimilarAcrossRuns

Book = Registry[type[Rule]]

_FILE = re.compile(r"(?P<file>[^()]+?\.py)(?::(?P<rest>.*))?$", re.DOTALL)
_CALL = re.compile(r"(?P<name>[^()]*?)\s*(?:\((?P<arguments>.*)\))?\s*", re.DOTALL)


def select_rules(rules: str = "default", rule: Sequence[str] = (), book: Book = RULES) -> list[Rule]:
    """Return the rules of a recipe.

    rules: default | all | none | names.  rule: further ones, with parameters or from a file; each replaces one of the
    same name.  book: all known rules.
    Raises BadChoice for an unknown name, with the nearest.
    """
    selected = {parsed.name: parsed for parsed in _named_rules(rules, book)}
    for text in rule:
        selected |= {parsed.name: parsed for parsed in parse_rule(text, book)}
    return [_with_other_run(parsed) for parsed in selected.values()]


def _with_other_run(rule: Rule) -> Rule:
    """Return the rule with the run that it compares with, where it names one: rules themselves read no files."""
    if not isinstance(rule, SimilarAcrossRuns) or not rule.other_trials:
        return rule
    # Only now: reading runs loads safetensors, and few rules compare.
    from clearsight.debugger.storage.saved_run import SavedRun

    return rule.with_other(SavedRun(Path(rule.other_trials).expanduser()).tape())


def parse_rule(text: str, book: Book = RULES) -> list[Rule]:
    """Return the rule that one text describes; a file without a name gives every rule in it."""
    file, name, arguments = _parts(text)
    if not file:
        return [find_rule(name, book).parse(arguments)]
    defined = _rules_in(Path(file).expanduser())
    if not name:
        return [kind.parse(arguments) for kind in defined.values()]
    if name not in defined:
        raise BadChoice(f"--rule {text}", "the file has no rule of that name", got=name, allowed=defined)
    return [defined[name].parse(arguments)]


def split_rules(rules: str) -> list[str]:
    """Return the words of the setting `rules`; a comma within brackets divides none."""
    return [word.strip() for word in re.split(r",(?![^()]*\))", rules) if word.strip()]


def names_file(text: str) -> bool:
    """Return True for the text of a rule that is code in a file; the file is not opened."""
    return _FILE.match(text.strip()) is not None


def find_rule(name: str, book: Book = RULES) -> type[Rule]:
    """Return a rule's class by its name, its SageMaker name, or either in snake_case."""
    plain = _plain(name)
    for known in book.names():
        if _plain(known) == plain:
            return book.load(known)
    # Other names stand in the classes, so that these must be imported: only after the names themselves.
    for _, kind in book:
        if plain in {_plain(other) for other in kind.also}:
            return kind
    return book.load(name)


def _named_rules(rules: str, book: Book) -> list[Rule]:
    words = split_rules(rules)
    if words == ["none"]:
        return []
    if words in (["default"], ["all"]):
        return [kind() for _, kind in book if words == ["all"] or not kind.optional]
    return [rule for word in words for rule in parse_rule(word, book)]


def _parts(text: str) -> tuple[str, str, Mapping[str, Any]]:
    """Return file, name and arguments of a rule's text."""
    file, name = "", text.strip()
    if match := _FILE.match(name):
        file, name = match["file"], match["rest"] or ""
    call = _CALL.fullmatch(name)
    if call is None or (not call["name"] and not file):
        raise BadValue(f"--rule {text}", "a rule is written Name or Name(parameter=value)")
    return file, call["name"], _arguments(text, call["arguments"] or "")


def _arguments(text: str, inside: str) -> dict[str, Any]:
    try:
        call = ast.parse(f"_({inside})", mode="eval").body
    except SyntaxError:
        raise BadValue(f"--rule {text}", "its brackets cannot be read; write Name(parameter=value)") from None
    if not isinstance(call, ast.Call) or call.args or any(keyword.arg is None for keyword in call.keywords):
        raise BadValue(f"--rule {text}", "parameters are passed by name; write Name(parameter=value)")
    return {str(keyword.arg): _literal(text, keyword.value) for keyword in call.keywords}


def _literal(text: str, node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return node.id  # a word without quotes, which shells tend to remove
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise BadValue(f"--rule {text}", "a parameter's value must be a number, a word or a list of them") from None


def _rules_in(path: Path) -> dict[str, type[Rule]]:
    """Return the rules that a file of the user's defines, by class name. The file is run: it is the user's code."""
    if not path.is_file():
        raise NotFound(f"--rule {path}", "there is no such file")
    # Named by the path: two files of one name must not share a module.
    name = f"clearsight_rules_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code can raise anything
        raise BadValue(f"--rule {path}", f"the file cannot be run ({type(error).__name__}: {error})") from error
    found = {
        kind.__name__: kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Rule) and kind is not Rule and kind.__module__ == name
    }
    for kind in found.values():
        if missing := sorted(kind.__abstractmethods__):
            fix = "docs/debug.md shows a whole rule."
            raise BadValue(f"--rule {path}", f"{kind.__name__} has no method {' and '.join(missing)}", fix=fix)
    if not found:
        raise BadValue(f"--rule {path}", "it defines no rule", fix="Derive a class from clearsight.Rule in it.")
    return found


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
