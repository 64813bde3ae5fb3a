"""What a caller may pass to the hook."""

from __future__ import annotations

import pytest
from torch import nn

from clearsight.core.errors import BadChoice, BadValue
from clearsight.debugger.arguments import check_numbers, check_watched, losses_of, rules_of


def test_losses_are_named_by_place_or_by_the_caller() -> None:
    one, two = nn.CrossEntropyLoss(), nn.MSELoss()
    assert losses_of(None) == {}
    assert losses_of(one) == {"loss": one}
    assert losses_of([one, two]) == {"loss": one, "loss_1": two}
    assert losses_of({"main": one}) == {"main": one}


def test_a_function_is_refused_with_the_way_out() -> None:
    with pytest.raises(BadValue, match=r"Tell the value of a function with hook\.record"):
        losses_of(nn.functional.cross_entropy)  # type: ignore[arg-type]


def test_numbers_are_checked() -> None:
    check_numbers("one", None, steps=0)
    with pytest.raises(BadValue, match="steps -1"):
        check_numbers("one", None, steps=-1)
    with pytest.raises(BadChoice, match="Did you mean all"):
        check_numbers("al", None)


def test_a_module_and_an_optimizer_are_asked_for() -> None:
    with pytest.raises(BadValue, match=r"no torch\.nn\.Module"):
        check_watched(lambda x: x, None)


def test_no_rules_is_a_choice() -> None:
    assert rules_of("none") == []
