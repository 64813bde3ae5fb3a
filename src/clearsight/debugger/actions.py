"""Actions: what is done about a finding, said as `verb`, `verb:argument` or `selector=verb`.

A selector is a severity (that one and worse) or a rule; without one an action answers warnings and worse.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.finding import Finding, Severity
from clearsight.debugger.rule_parser import Book, find_rule
from clearsight.debugger.rules import RULES

Verb = Literal["notify", "stop", "stop-trial", "adjust", "retry"]
VERBS: tuple[Verb, ...] = get_args(Verb)

ADJUSTABLE = frozenset({"lr", "head_lr", "clip_grad", "class_weights", "label_smoothing", "weight_decay", "patience"})
_SECONDS = 10  # that a webhook or a command may take


@dataclass(frozen=True, slots=True)
class Action:
    """What to do about which findings. argument: of notify, a URL or a command line; "" is log and terminal."""

    verb: Verb
    argument: str = ""
    selector: str = Severity.WARNING.value

    @property
    def by_rule(self) -> bool:
        """Whether it is for one rule, rather than for all of a severity."""
        return self.selector not in set(Severity)

    def answers(self, finding: Finding) -> bool:
        """Whether it is to be done about this finding."""
        if not finding.found:
            return False
        if self.by_rule:
            return finding.rule == self.selector
        return finding.severity.rank <= Severity(self.selector).rank


def parse_action(text: str, book: Book = RULES) -> Action:
    """An action out of its words; raises BadChoice for an unknown verb, severity or rule, with the nearest."""
    selector, equals, rest = text.partition("=")
    if not equals or ":" in selector:  # a URL may hold an equals sign
        selector, rest = "", text
    word, _, argument = rest.partition(":")
    verb = next((known for known in VERBS if known == word.strip()), None)
    if verb is None:
        raise BadChoice(f"--on-finding {text}", "there is no such action", got=word.strip(), allowed=VERBS)
    if argument and verb != "notify":
        raise BadValue(f"--on-finding {text}", f"{verb} takes no argument")
    return Action(verb, argument.strip(), _selector(selector.strip(), book))


def _selector(word: str, book: Book) -> str:
    if not word or word in set(Severity):
        return word or Severity.WARNING.value
    try:
        return find_rule(word, book).__name__
    except BadChoice as error:
        severities = [severity.value for severity in Severity]
        allowed = [*severities, *error.allowed]
        raise BadChoice(
            f"--on-finding {word}=", "it is neither a severity nor a rule", got=word, allowed=allowed
        ) from None


def notify(target: str, finding: Finding, facts: Mapping[str, Any]) -> str:
    """Tell a URL (POST, JSON) or a command (JSON on its stdin) of a finding; returns what came of it, in words.

    A notice that cannot be delivered is said so in the answer; it is no reason to end a training run.
    """
    body = json.dumps({**facts, "finding": finding.to_json()}).encode()
    if target.startswith(("http://", "https://")):
        return _post(target, body)
    return _command(target, body)


def _post(url: str, body: bytes) -> str:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return f"told {_host(url)}: {answer.status}"
    except (OSError, ValueError) as error:
        return f"could not tell {_host(url)}: {error}"


def _command(line: str, body: bytes) -> str:
    try:
        done = subprocess.run(shlex.split(line), input=body, capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f"could not run {line}: {error}"
    return f"ran {line}: exit code {done.returncode}"


def _host(url: str) -> str:
    """A URL without its path and query, which may hold a secret."""
    return "/".join(url.split("/")[:3])


def adjustment(findings: Sequence[Finding]) -> tuple[Finding, dict[str, Any]] | None:
    """The first finding whose fix can be made while a run goes on, and the part of it that can."""
    for finding in findings:
        changes = {name: value for name, value in finding.fix.items() if name in ADJUSTABLE}
        if changes:
            return finding, changes
    return None
