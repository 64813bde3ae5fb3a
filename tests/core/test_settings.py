"""A declared setting carries its default, range, help, flags and search range, and an error follows from them."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.settings import (
    Seconds,
    Section,
    aliases,
    bounds,
    choices,
    declared,
    flag,
    further_flags,
    is_duration,
    meaning,
    range_text,
    search_values,
    setting,
    unit,
    value_types,
)


class Kitchen(Section):
    """A section for these tests."""

    plain: int = Field(3)
    heat: float | None = setting(
        None, "how hot [default: by dish]", above=0, high=300, unit="°C", search="float(50,250)"
    )
    cook: Literal["gas", "wood"] = setting("gas", "fuel", flag="--fuel", flags=("-f",), aliases=("stove",))
    timer: Seconds | None = setting(None, "ends the cooking", above=0)
    pause: Seconds = setting(5.0, "between dishes")
    dishes: tuple[str, ...] = setting((), "names")
    scale: tuple[float, float] | None = setting(None, "ends of the scale")
    seats: int = setting(4, "seats", low=1)


FIELDS = declared(Kitchen)


def test_declared_fields_are_those_of_setting() -> None:
    assert list(FIELDS) == ["heat", "cook", "timer", "pause", "dishes", "scale", "seats"]


def test_a_flag_is_the_name_unless_another_is_declared() -> None:
    assert flag("heat", FIELDS["heat"]) == "--heat"
    assert flag("very_hot", FIELDS["heat"]) == "--very-hot"
    assert flag("cook", FIELDS["cook"]) == "--fuel"
    assert further_flags(FIELDS["cook"]) == ("-f",)
    assert aliases(FIELDS["cook"]) == ("stove",)


def test_choices_are_those_of_a_literal() -> None:
    assert choices(FIELDS["cook"]) == ("gas", "wood")
    assert choices(FIELDS["heat"]) == ()


def test_search_values_are_declared_or_all_choices() -> None:
    assert search_values(FIELDS["heat"]) == "float(50,250)"
    assert search_values(FIELDS["cook"]) == "[gas,wood]"
    assert search_values(FIELDS["seats"]) == ""


def test_meaning_is_the_help_without_the_default() -> None:
    assert meaning(FIELDS["heat"]) == "how hot"
    assert meaning(FIELDS["seats"]) == "seats"


def test_value_types_leave_out_none_and_parameters() -> None:
    types = {name: value_types(info) for name, info in FIELDS.items()}
    assert types == {
        "heat": (float,),
        "cook": (),
        "timer": (float,),
        "pause": (float,),
        "dishes": (tuple,),
        "scale": (tuple,),
        "seats": (int,),
    }


def test_durations_accept_a_unit() -> None:
    assert [name for name, info in FIELDS.items() if is_duration(info)] == ["timer", "pause"]
    assert Kitchen.parse({"timer": "2m", "pause": 3}) == Kitchen(timer=120.0, pause=3.0)


def test_bounds_name_their_operators() -> None:
    assert bounds(FIELDS["heat"]) == [("gt", 0), ("le", 300)]
    assert bounds(FIELDS["seats"]) == [("ge", 1)]
    assert range_text(FIELDS["heat"]) == "> 0, ≤ 300"
    assert range_text(FIELDS["cook"]) == ""


def test_a_unit_is_declared() -> None:
    assert (unit(FIELDS["heat"]), unit(FIELDS["seats"])) == ("°C", "")


@pytest.mark.parametrize(
    ("values", "kind", "sentence"),
    [
        ({"seats": 0}, BadValue, "--seats 0: must be a whole number, at least 1."),
        ({"seats": "two"}, BadValue, "--seats two: must be a whole number, at least 1."),
        ({"seats": 1.5}, BadValue, "--seats 1.5: must be a whole number, at least 1."),
        ({"heat": 0}, BadValue, "--heat 0: must be a number, above 0 and at most 300."),
        ({"heat": float("inf")}, BadValue, "--heat inf: must be a finite number, above 0 and at most 300."),
        (
            {"timer": "soon"},
            BadValue,
            "--timer soon: must be a number of seconds, or a time such as 90s, 10m, 2h or 1d.",
        ),
        ({"dishes": 3}, BadValue, "--dishes 3: must be a list of words."),
        ({"scale": [1]}, BadValue, "--scale [1]: must be a list of 2 numbers."),
        ({"cook": "coal"}, BadChoice, "--fuel coal: not one of the choices. Allowed: gas, wood."),
        ({"spice": 1}, BadValue, "spice: extra inputs are not permitted."),
    ],
)
def test_a_wrong_value_is_one_sentence(values: dict[str, object], kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind) as caught:
        Kitchen.parse(values)
    assert str(caught.value) == sentence
