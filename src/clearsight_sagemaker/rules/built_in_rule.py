"""BuiltInRule: a built-in rule of the debugger, judged while tensors are being saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clearsight.core.errors import BadChoice, ClearsightError
from clearsight_sagemaker.rules.conditions import CONDITIONS
from clearsight_sagemaker.rules.conditions.condition import Condition, StepTensors
from clearsight_sagemaker.rules.conditions.tensors import StalledTrainingCondition
from clearsight_sagemaker.rules.rule_configuration import RuleConfiguration, interval_hint
from clearsight_sagemaker.rules.rule_status import CLEAR, ERROR, FOUND, RuleVerdict, condition_met
from clearsight_sagemaker.rules.run_findings import RunFindings
from smdebug.rules.action import parse_actions

# What a condition may raise on tensors of a kind that it does not expect.
_TENSOR_ERRORS = (ClearsightError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError, OSError)
NO_DATA = (
    "ClientError: No debugging data was saved by the training job. Check that the debugger hook was configured"
    " correctly before starting the training job. Exception: Training job has ended. All the collection files could"
    " not be loaded"
)


class BuiltInRule:
    """A built-in rule of a job, with its verdict once it has one. findings: of clearsight's rules on the job.

    Raises ClearsightError or ValueError for a rule, a parameter or an action that is not possible.
    """

    def __init__(self, configuration: RuleConfiguration, request: Mapping[str, Any], findings: RunFindings) -> None:
        self.configuration, self._request, self._findings = configuration, request, findings
        if configuration.rule not in CONDITIONS:
            named = configuration.rule or "no rule_to_invoke"
            raise BadChoice(configuration.name, f"names {named}", got=configuration.rule, allowed=CONDITIONS)
        self._condition: Condition = CONDITIONS[configuration.rule].parse(configuration.rule, configuration.parameters)
        self.actions = parse_actions(configuration.actions)
        if isinstance(self._condition, StalledTrainingCondition):
            self.actions += parse_actions(self._condition.actions)
        self.verdict: RuleVerdict | None = None
        self._step, self._met = 0, ""

    def check_steps(self, saved: StepTensors, steps: Sequence[int]) -> None:
        """Judge new steps, in order, until the condition is met."""
        for step in steps:
            if self.verdict is not None:
                return
            self._step = step
            try:
                self._meet(self._condition.at_step(saved, step))
            except _TENSOR_ERRORS as error:
                self._fail(f"at step {step}", error)

    def check_idle(self, seconds: float) -> None:
        """Judge a job that has saved nothing for some seconds."""
        if self.verdict is None:
            self._meet(self._condition.when_idle(seconds))

    def finish(self) -> RuleVerdict:
        """Return the verdict when training has ended and the findings are those of the whole run."""
        if self.verdict is None:
            self._meet(self._condition.at_end())
        if self.verdict is None:
            self.verdict = RuleVerdict(status=CLEAR, details=self._clear_details())
        return self.verdict

    def complete(self) -> bool:
        """Add what clearsight has found since the condition was met; return True where there is something."""
        more = self._findings.sentence(self.configuration.rule)
        if self.verdict is None or self.verdict.status != FOUND or not more:
            return False
        before, self.verdict = self.verdict, RuleVerdict(status=FOUND, details=f"{self._met} {more}")
        return before != self.verdict

    def _meet(self, clause: str) -> None:
        if clause:
            rule = self.configuration.rule
            self._met = f"{condition_met(rule, self._step)}{_capital(clause)}."
            self.verdict = RuleVerdict(status=FOUND, details=self._met)
            self._findings.judge()
            self.complete()

    def _fail(self, place: str, error: BaseException) -> None:
        reason = str(error) if isinstance(error, ClearsightError) else f"{type(error).__name__}: {error}"
        self.verdict = RuleVerdict(status=ERROR, details=f"ClientError: the rule failed {place}: {reason}")

    def _clear_details(self) -> str:
        """Return what a user should know of a rule that found nothing; "" where it had enough data."""
        parts = []
        if lack := self._condition.unmet_need:
            rule = self.configuration.rule
            parts.append(f"{rule} had too little data to find anything.")
            parts.append(interval_hint(self._request, rule, self._condition.points) or f"It saw {lack}.")
        if more := self._findings.sentence(self.configuration.rule):
            parts.append(f"{more} SageMaker's rule of this name finds nothing.")
        return " ".join(parts)


def _capital(clause: str) -> str:
    # Names of tensors keep their case.
    return clause if "_" in clause.split(" ", 1)[0] else clause[0].upper() + clause[1:]
