"""Actions: what is done about a finding, written as `verb`, `verb:argument` or `selector=verb`.

A selector is a severity (that one and worse) or a rule; without one an action concerns warnings and worse.
"""

from __future__ import annotations

import json
import logging
import re
import shlex
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.finding import Finding, Severity
from clearsight.core.secrets import HIDDEN, redact, redact_command
from clearsight.debugger.rule_parser import Book, find_rule
from clearsight.debugger.rules import RULES

log = logging.getLogger(__name__)

Verb = Literal["notify", "stop", "stop-trial", "adjust", "retry"]
VERBS: tuple[Verb, ...] = get_args(Verb)

# Settings that may differ from those of the checkpoint from which the run continues. Another model, batch size or
# augmentation would not fit it, or would make the curves before and after incomparable.
ADJUSTABLE = frozenset({"lr", "head_lr", "clip_grad", "class_weights", "label_smoothing", "weight_decay", "patience"})
_TIMEOUT = 10  # seconds for a webhook or a command: training waits for it


@dataclass(frozen=True, slots=True)
class Action:
    """An action and the findings that it concerns. argument: of notify, a URL or a command line; "" is the log."""

    verb: Verb
    argument: str = ""
    selector: str = Severity.WARNING.value

    @property
    def by_rule(self) -> bool:
        """Return True for an action on one rule, False for one on a severity."""
        return self.selector not in set(Severity)

    def concerns(self, finding: Finding) -> bool:
        """Return True if the action is taken on this finding."""
        if self.by_rule:
            return finding.found and finding.rule == self.selector
        return finding.found and finding.severity.rank <= Severity(self.selector).rank


@dataclass(frozen=True, kw_only=True)
class RequestedChange:
    """Change of the recipe that is made once the loop has stopped. verb: "adjust" or "retry"."""

    verb: str
    finding: Finding
    changes: Mapping[str, Any]


@dataclass(kw_only=True)
class TakenAction:
    """An action that was taken: when, why, what it changed, and what came of it.

    before, after: validation accuracy when it was taken and at the end of the run, where a setting was changed.
    """

    step: int
    rule: str
    action: str
    changed: dict[str, Any] = field(default_factory=dict)
    outcome: str = ""
    before: float | None = None
    after: float | None = None


class ActionRunner:
    """Takes the actions of a run, each once for a rule.

    stop: asks the loop to end, with a reason.  run_facts: of the run, sent along with a notice.
    history: every action so far.  request: the change that waits until the loop has stopped; one at a time.
    """

    def __init__(
        self, actions: Sequence[Action], stop: Callable[[str], None], run_facts: Mapping[str, Any] | None = None
    ) -> None:
        self.actions = list(actions)
        self._stop, self._run_facts = stop, run_facts or {}
        self.history: list[TakenAction] = []
        self.request: RequestedChange | None = None
        self._done: set[tuple[Action, str]] = set()  # an action and a rule

    def run(
        self, found: Sequence[Finding], causes: Sequence[Finding], step: int, *, accuracy: float | None = None
    ) -> Iterator[TakenAction]:
        """Take and yield the actions that are due at a step. causes: the root findings among `found`.

        accuracy: of the last validation, None without one.
        """
        for action in self.actions:
            # An action on a rule concerns that rule even where another finding explains it; one on a severity concerns
            # causes alone, or every symptom would be acted on.
            for finding in found if action.by_rule else causes:
                if action.concerns(finding) and (action, finding.rule) not in self._done:
                    self._done.add((action, finding.rule))
                    yield self._carry_out(action, finding, step, accuracy)

    def complete_request(self, outcome: str) -> None:
        """Clear the request, which was carried out; its rule may ask again."""
        assert self.request is not None
        # Only a request has changes; another action may have been taken after it in the same check.
        requested = next(record for record in reversed(self.history) if record.changed)
        requested.outcome = outcome
        self._done = {(action, rule) for action, rule in self._done if rule != self.request.finding.rule}
        self.request = None

    def conclude(self, accuracy: float | None) -> None:
        """Note the validation accuracy at the end of the run beside every changed setting."""
        for record in self.history:
            record.after = accuracy if record.changed else None

    def _carry_out(self, action: Action, finding: Finding, step: int, accuracy: float | None) -> TakenAction:
        record = TakenAction(step=step, rule=finding.rule, action=action.verb)
        match action.verb:
            case "notify":
                record.outcome = notify(action.argument, finding, self._run_facts) if action.argument else "logged"
            case "stop" | "stop-trial":
                record.outcome = "stopped"
                self._stop(f"the debugger found {finding.rule}: {finding.cause}")
            case "adjust" | "retry":
                self._request(action.verb, finding, record, accuracy)
        self.history.append(record)
        log.info("%s at step %d: %s %s", record.rule, step, record.action, record.outcome)
        return record

    def _request(self, verb: str, finding: Finding, record: TakenAction, accuracy: float | None) -> None:
        changes = {name: value for name, value in finding.fix.items() if verb == "retry" or name in ADJUSTABLE}
        # One change at a time: of two at once nobody knows which one helped.
        if not changes or self.request is not None:
            record.outcome = "another change came first" if changes else "nothing that can be changed in this way"
            return
        record.changed, record.outcome, record.before = changes, "requested", accuracy
        self.request = RequestedChange(verb=verb, finding=finding, changes=changes)
        self._stop(f"the debugger found {finding.rule}: {finding.cause}")


def parse_action(text: str, book: Book = RULES) -> Action:
    """Return the action of its text; raises BadChoice for an unknown verb, severity or rule, with the nearest."""
    selector, equals, rest = text.partition("=")
    if not equals or ":" in selector:  # a URL may hold an equals sign
        selector, rest = "", text
    word, _, argument = rest.partition(":")
    verb = next((known for known in VERBS if known == word.strip()), None)
    if verb is None:
        raise BadChoice(f"--on-finding {text}", "there is no such action", got=word.strip(), allowed=VERBS)
    if HIDDEN in argument:
        fix = "Pass --on-finding again with the whole address."
        raise BadValue(f"--on-finding {text}", "its secret was left out when this recipe was written", fix=fix)
    if argument and verb != "notify":
        raise BadValue(f"--on-finding {text}", f"{verb} takes no argument")
    return Action(verb, argument.strip(), _selector(selector.strip(), book))


def runs_code(text: str) -> bool:
    """Return True for the text of an action that runs a command or calls an address."""
    return re.search(r"(?:^|=)\s*notify\s*:\s*\S", text) is not None


def _selector(word: str, book: Book) -> str:
    if not word or word in set(Severity):
        return word or Severity.WARNING.value
    try:
        return find_rule(word, book).__name__
    except BadChoice as error:
        allowed, problem = [*Severity, *error.allowed], "it is neither a severity nor a rule"
        raise BadChoice(f"--on-finding {word}", problem, got=word, allowed=allowed) from None


def notify(target: str, finding: Finding, run_facts: Mapping[str, Any]) -> str:
    """Send a finding to a URL (POST, JSON) or a command (JSON on its stdin); returns the outcome in words.

    A notice that cannot be delivered is such an outcome too: it is no reason to end a training run.
    """
    body = json.dumps({**run_facts, "finding": finding.to_json()}).encode()
    return _send(target, body) if target.startswith(("http://", "https://")) else _run(target, body)


def _send(url: str, body: bytes) -> str:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
    host = redact("/".join(url.split("/")[:3]))  # path and query may hold a secret
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            return f"notified {host}: {response.status}"
    except (OSError, ValueError) as error:
        return f"could not notify {host}: {error}"


def _run(line: str, body: bytes) -> str:
    shown = " ".join(redact_command(line.split()))
    try:
        # No shell: the words of the command come from the recipe, and nothing in the finding is interpreted.
        done = subprocess.run(shlex.split(line), input=body, capture_output=True, timeout=_TIMEOUT, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f"could not run {shown}: {error}"
    return f"ran {shown}: exit code {done.returncode}"
