"""Arguments of the hook: checked, and brought into one form."""

from __future__ import annotations

import pytest
from torch import nn

from clearsight.core.errors import BadChoice, BadValue
from clearsight.debugger.arguments import check_numbers, check_watched, losses_of, rules_of


def test_losses_are_named_by_place_or_by_the_caller() -> None:
    first, second = nn.CrossEntropyLoss(), nn.MSELoss()
    assert losses_of(None) == {}
    assert losses_of(first) == {"loss": first}
    assert losses_of([first, second]) == {"loss": first, "loss_1": second}
    assert losses_of({"main": first}) == {"main": first}


def test_a_loss_function_is_refused_with_the_alternative() -> None:
    with pytest.raises(BadValue, match=r"Report the value of a loss function with hook\.record"):
        losses_of(nn.functional.cross_entropy)  # type: ignore[arg-type]


def test_numbers_are_checked() -> None:
    check_numbers("one", None, steps=0)
    with pytest.raises(BadValue, match="steps -1"):
        check_numbers("one", None, steps=-1)
    with pytest.raises(BadChoice, match="Did you mean all"):
        check_numbers("al", None)


def test_a_model_must_be_a_module() -> None:
    with pytest.raises(BadValue, match=r"must be a torch\.nn\.Module"):
        check_watched(lambda x: x, None)


def test_no_rules_is_a_choice() -> None:
    assert rules_of("none") == []
