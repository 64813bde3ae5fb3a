"""Errors of smdebug: the names that scripts and rules catch."""

from __future__ import annotations

from smdebug.core.modes import ModeKeys


class SMDebugError(Exception):
    """Base of every error of smdebug."""


class SMDebugCustomerError(SMDebugError):
    """An error of the caller."""


class SMDebugTypeError(SMDebugError, TypeError):
    """An argument of a wrong type."""


class SMDebugValueError(SMDebugError, ValueError):
    """An argument of a wrong value."""


class SMDebugRuntimeError(SMDebugError, RuntimeError):
    """A call that the state does not allow."""


class SMDebugNotImplementedError(SMDebugError, NotImplementedError):
    """A call that smdebug does not offer."""


class CorruptFile(SMDebugError):
    """A file of a trial that cannot be read."""


class IndexReaderException(SMDebugError):
    """An index file without the sections of an index."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidCollectionConfiguration(SMDebugError):
    """A collection with neither patterns nor tensor names, or collections that nothing has prepared."""

    def __init__(self, c_name: str) -> None:
        super().__init__(c_name)
        self.c_name = c_name

    def __str__(self) -> str:
        return (
            f"Collection {self.c_name} has not been configured: it has neither include_regex nor tensor_names. "
            "Give it a pattern, such as include_regex='relu_output'."
        )


class MissingCollectionFiles(SMDebugError):
    """A finished training without the files that list its collections."""

    def __str__(self) -> str:
        return "Training job has ended. All the collection files could not be loaded"


class StepUnavailable(SMDebugError):
    """A step that was not saved."""

    def __init__(self, step: int, mode: ModeKeys) -> None:
        super().__init__(step, mode)
        self.step, self.mode = step, mode

    def __str__(self) -> str:
        return f"Step {self.step} of mode {self.mode.name} is not available as it was not saved"


class StepNotYetAvailable(SMDebugError):
    """A step that training has not reached."""

    def __init__(self, step: int, mode: ModeKeys) -> None:
        super().__init__(step, mode)
        self.step, self.mode = step, mode

    def __str__(self) -> str:
        return f"Step {self.step} of mode {self.mode.name} not yet available"


class TensorUnavailable(SMDebugError):
    """A tensor that no step holds."""

    def __init__(self, tname: str) -> None:
        super().__init__(tname)
        self.tname = tname

    def __str__(self) -> str:
        return f"Tensor {self.tname} was not saved."


class TensorUnavailableForStep(SMDebugError):
    """A tensor whose values a step does not hold."""

    def __init__(self, tname: str, step: int, mode: ModeKeys = ModeKeys.GLOBAL, has_reductions: bool = False) -> None:
        super().__init__(tname, step, mode)
        self.tname, self.step, self.mode, self.has_reductions = tname, step, mode, has_reductions

    def __str__(self) -> str:
        text = f"Value for tensor {self.tname} is not available for step {self.step} with mode {self.mode.name}"
        hint = " Reductions of it were saved: use reduction_value." if self.has_reductions else ""
        return f"{text} as it was not saved.{hint}"


class ShapeUnavailableForStep(SMDebugError):
    """A tensor whose shape a step does not hold."""

    def __init__(self, tname: str, step: int, mode: ModeKeys = ModeKeys.GLOBAL) -> None:
        super().__init__(tname, step, mode)
        self.tname, self.step, self.mode = tname, step, mode

    def __str__(self) -> str:
        return (
            f"Shape for tensor {self.tname} is not available for step {self.step} with mode {self.mode.name} "
            "as it was not saved."
        )


class InvalidWorker(SMDebugError):
    """A worker that has not written the step."""

    def __init__(self, worker: str) -> None:
        super().__init__(worker)
        self.worker = worker

    def __str__(self) -> str:
        return f"Invalid Worker: {self.worker}"


class NoMoreData(SMDebugError):
    """The end of training comes before the step."""

    def __init__(self, step: int, mode: ModeKeys, last_step: int) -> None:
        super().__init__(step, mode, last_step)
        self.step, self.mode, self.last_step = step, mode, last_step
        self.msg = (
            f"Looking for step {step} of mode {mode.name} and reached end of training. "
            f"Max step available is {last_step}"
        )

    def __str__(self) -> str:
        return self.msg


class NoMoreProfilerData(SMDebugError):
    """The end of training comes before the time."""

    def __init__(self, timestamp: float) -> None:
        super().__init__(timestamp)
        self.timestamp = timestamp
        self.msg = f"Looking for timestamp {timestamp} and reached end of training."

    def __str__(self) -> str:
        return self.msg


class RuleEvaluationConditionMet(SMDebugError):
    """The condition of a rule holds at a step. end_of_rule: True where the rule needs no later step."""

    def __init__(self, rule_name: str, step: int, end_of_rule: bool = False) -> None:
        super().__init__(rule_name, step)
        self.rule_name, self.step, self.end_of_rule = rule_name, step, end_of_rule

    def __str__(self) -> str:
        return f"Evaluation of the rule {self.rule_name} at step {self.step} resulted in the condition being met"


class InsufficientInformationForRuleInvocation(SMDebugError):
    """A rule whose parameters do not suffice."""

    def __init__(self, rule_name: str, message: str) -> None:
        super().__init__(rule_name, message)
        self.rule_name, self.message = rule_name, message

    def __str__(self) -> str:
        return f"Insufficient information to invoke rule {self.rule_name}: {self.message}"
