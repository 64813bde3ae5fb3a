"""invoke_rule: judges the steps of a trial by a rule, one after the other."""

from __future__ import annotations

from smdebug.core.logger import get_logger
from smdebug.exceptions import (
    NoMoreProfilerData,
    RuleEvaluationConditionMet,
    StepUnavailable,
    TensorUnavailable,
    TensorUnavailableForStep,
)
from smdebug.rules.rule import Rule


def invoke_rule(
    rule_obj: Rule, start_step: int | None = 0, end_step: int | None = None, raise_eval_cond: bool = False
) -> None:
    """Judge the global steps from `start_step` to `end_step`, which is left out; None goes on to the end of training.

    Steps without the rule's tensors are skipped. raise_eval_cond: raise RuleEvaluationConditionMet at the first step at
    which the condition holds. Raises NoMoreData at the end of training, as smdebug does: catch it.
    """
    logger, name = get_logger(), type(rule_obj).__name__
    step = start_step or 0
    logger.info(f"Started execution of rule {name} at step {step}")
    while end_step is None or step < end_step:
        try:
            rule_obj.invoke(step)
        except (TensorUnavailableForStep, StepUnavailable, TensorUnavailable) as error:
            logger.debug(str(error))
        except RuleEvaluationConditionMet as error:
            if raise_eval_cond:
                raise
            logger.debug(str(error))
            if error.end_of_rule:
                break
        except NoMoreProfilerData as error:
            logger.info(f"No more profiler data for rule {name} at timestamp {error.timestamp}")
            break
        step += 1
    logger.info(f"Ended execution of rule {name} at end_step {step - 1}")
