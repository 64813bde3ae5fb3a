"""RuleReporter: statuses of rules and lines for the job's log, as the process of the rules passes them on."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from clearsight_sagemaker.rules.rule_configuration import RuleConfiguration

IN_PROGRESS, CLEAR, FOUND, ERROR, STOPPED = "InProgress", "NoIssuesFound", "IssuesFound", "Error", "Stopped"
MOST_DETAILS = 1024  # characters that StatusDetails holds


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleVerdict:
    """End of a rule. status: NoIssuesFound, IssuesFound or Error.  details: sentences, "" for none."""

    status: str
    details: str = ""


def condition_met(rule: str, step: int) -> str:
    """Return the sentence of SageMaker for a rule that found something at a global step."""
    met = f"Evaluation of the rule {rule} at step {step} resulted in the condition being met"
    return f"RuleEvaluationConditionMet: {met}\n"


class RuleReporter:
    """Writes a JSON object a line, {"rule": {...}} or {"log": [...]}; used by several threads."""

    def __init__(self, output: IO[str]) -> None:
        self._output, self._lock = output, threading.Lock()

    def status(self, rule: RuleConfiguration, status: str, details: str = "") -> None:
        """Pass on the status of a rule."""
        values = {"configuration": rule.name, "status": status, "profiler": rule.is_profiler}
        self._send({"rule": {**values, "details": details[:MOST_DETAILS]} if details else values})

    def verdict(self, rule: RuleConfiguration, verdict: RuleVerdict) -> None:
        """Pass on the end of a rule, and say it in the log."""
        self.status(rule, verdict.status, verdict.details)
        details = " ".join(verdict.details.split())
        self.write(f"Rule {rule.name}: {verdict.status}{'. ' + details if details else ''}")

    def write(self, sentence: str) -> None:
        """Add a line to the log of the job."""
        self.append([sentence])

    def append(self, lines: Sequence[str]) -> None:
        """Add lines to the log of the job."""
        self._send({"log": list(lines)})

    def _send(self, values: object) -> None:
        with self._lock:
            self._output.write(json.dumps(values) + "\n")
            self._output.flush()
