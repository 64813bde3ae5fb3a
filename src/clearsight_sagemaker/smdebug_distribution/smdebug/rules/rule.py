"""Rule: base of conditions that users write.

class LossIsHigh(Rule):
    def __init__(self, base_trial, threshold=10.0):
        super().__init__(base_trial, action_str="")
        self.threshold = threshold

    def set_required_tensors(self, step):
        self.req_tensors.add(name="Loss.*output", steps=[step], should_match_regex=True)

    def invoke_at_step(self, step):
        return any(tensor.value(step).mean() > self.threshold for tensor in self.req_tensors.get())
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Sequence

from smdebug.core.logger import get_logger
from smdebug.exceptions import RuleEvaluationConditionMet
from smdebug.rules.action import Actions
from smdebug.rules.required_tensors import RequiredTensors
from smdebug.trials.trial import Trial, refreshing


class Rule(ABC):
    """A condition on the tensors of `base_trial`, and of `other_trials` where it compares.

    action_str: JSON of the actions that follow, as SageMaker passes it; "" for none.
    """

    def __init__(self, base_trial: Trial, action_str: str, other_trials: Sequence[Trial] | None = None) -> None:
        self.base_trial, self.other_trials = base_trial, other_trials
        self.trials = [base_trial, *(other_trials or ())]
        self.req_tensors = RequiredTensors(base_trial, other_trials)
        self.logger = get_logger()
        self.rule_name = type(self).__name__
        self._actions = Actions(action_str, rule_name=self.rule_name)
        self.report: dict[str, Any] = {
            "RuleTriggered": 0,
            "Violations": 0,
            "Details": {},
            "Datapoints": 0,
            "RuleParameters": "",
        }

    def set_required_tensors(self, step: int) -> None:  # noqa: B027 - most rules override it, none must
        """Name the tensors that `invoke_at_step` needs, with `self.req_tensors.add`. Subclasses may override it."""

    @abstractmethod
    def invoke_at_step(self, step: int) -> bool:
        """Return True where the condition holds at a global step."""

    def invoke(self, step: int) -> None:
        """Judge a global step, once it is there.

        Raises RuleEvaluationConditionMet where the condition holds, after the actions; StepUnavailable,
        TensorUnavailable and TensorUnavailableForStep where tensors are missing; NoMoreData after the last step.
        """
        self.base_trial.wait_for_steps([step])
        # The step numbers that the required tensors have must be those that the rule sees.
        with refreshing(self.trials, False):
            self.req_tensors.clear()
            self.set_required_tensors(step)
            self.req_tensors.fetch()
            is_met = self.invoke_at_step(step)
        if is_met:
            self._actions.invoke()
            raise RuleEvaluationConditionMet(self.rule_name, step)
