"""Condition: what a rule looks for at the saved steps of a job. StepTensors: the tensors, as conditions read them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from clearsight.core.errors import BadChoice, BadValue
from clearsight_sagemaker.rules.parameters import hint_of

Array: TypeAlias = "npt.NDArray[Any]"
StepMode: TypeAlias = Literal["TRAIN", "EVAL", "PREDICT", "GLOBAL"]


class StepTensors(Protocol):
    """Saved steps of a job. Steps are global steps, unless a method says otherwise."""

    def names(self, step: int) -> Sequence[str]:
        """Return the names of the tensors of a step."""
        ...

    def in_collection(self, name: str, collection: str) -> bool:
        """Return True for a tensor of a collection; there may be none of that name."""
        ...

    def mode(self, step: int) -> tuple[StepMode, int]:
        """Return the mode of a step, and its number within the mode."""
        ...

    def value(self, name: str, step: int) -> Array:
        """Return the elements of a tensor."""
        ...

    def reduction(self, name: str, step: int, reduction: str, *, absolute: bool = False) -> float:
        """Return a reduction of a tensor, stored or computed."""
        ...

    def other(self, uri: str) -> StepTensors:
        """Return the tensors of another job."""
        ...


class Condition(BaseModel, ABC):
    """Base of the built-in rules. Fields are the parameters, with SageMaker's names and defaults."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    _points: int = PrivateAttr(0)

    @property
    def points(self) -> int:
        """Return the number of steps at which the condition could be checked."""
        return self._points

    @property
    def unmet_need(self) -> str:
        """Return what the condition lacked to be judged even once, as a clause; "" where it was judged."""
        return "" if self._points > 1 else f"{self._points} saved steps with the tensors that it needs"

    @classmethod
    def parse(cls, rule: str, parameters: Mapping[str, str]) -> Condition:
        """Return the condition with parameters as text. Raises BadChoice for an unknown one, BadValue for another."""
        for name in parameters:
            if name not in cls.model_fields:
                raise BadChoice(f"{rule}({name})", "there is no such parameter", got=name, allowed=cls.model_fields)
        try:
            return cls.model_validate({name: text for name, text in parameters.items() if text != "None"})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            subject = f"{rule}({name}={first['input']})" if name else rule
            raise BadValue(subject, hint_of(first)) from None

    @abstractmethod
    def at_step(self, saved: StepTensors, step: int) -> str:
        """Check a step, each once and in order; return a clause on what is met, "" where nothing is."""

    def at_end(self) -> str:
        """Check what can only be told when training has ended, as `at_step` does."""
        return ""

    def when_idle(self, seconds: float) -> str:
        """Check a job that has saved nothing for some seconds, as `at_step` does."""
        return ""


class SelectedTensors(Condition):
    """Base of conditions on tensors that the parameters select: of collections, or with matching names.

    Both parameters may hold several, separated by commas. Without them every tensor is selected.
    """

    collection_names: str | None = None
    tensor_regex: str | None = None

    def selected(self, saved: StepTensors, step: int, *, scalars: bool = False) -> Iterable[tuple[str, Array]]:
        """Yield names and elements of the selected tensors of a step that hold numbers. scalars: those of one alone."""
        for name in saved.names(step):
            if self.selects(saved, name):
                value = saved.value(name, step)
                if value.size and value.dtype.kind in "biuf" and (value.size == 1 or not scalars):
                    yield name, value

    def selects(self, saved: StepTensors, name: str) -> bool:
        """Return True for a selected tensor."""
        collections, patterns = words(self.collection_names), words(self.tensor_regex)
        if not collections and not patterns:
            return True
        return matches(name, patterns) or any(saved.in_collection(name, each) for each in collections)


class RequiredSelection(SelectedTensors):
    """Base of conditions that need one of the two parameters."""

    def model_post_init(self, context: object, /) -> None:
        super().model_post_init(context)
        if not words(self.collection_names) and not words(self.tensor_regex):
            raise BadValue(
                type(self).__name__.removesuffix("Condition"),
                "needs collection_names or tensor_regex",
                fix="Pass one of them in rule_parameters.",
            )


def words(text: str | None) -> list[str]:
    """Return the parts of a text that are separated by commas."""
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return True where a regular expression is found anywhere in a name. Raises BadValue for a wrong one."""
    for pattern in patterns:
        try:
            if re.search(pattern, name):
                return True
        except re.error as error:
            raise BadValue(f"regular expression {pattern}", f"is not valid ({error})") from None
    return False


def units(value: Array) -> Array:
    """Return activations (N, C, ...) as rows of one unit each, (C, values)."""
    if value.ndim < 2:
        return value.reshape(1, -1).astype(np.float64)
    return np.moveaxis(value, 1, 0).reshape(value.shape[1], -1).astype(np.float64)
