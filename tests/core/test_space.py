"""A space has settings and their values, and is checked before any training."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadChoice, BadValue, ClearsightError, EmptyInput
from clearsight.core.recipe import Recipe
from clearsight.core.space import Choice, Dimension, Domain, FloatRange, IntRange, Space, Value, settings_of

LR = Dimension(name="lr", domain=FloatRange(low=1e-5, high=1e-1, log=True))
OPTIMIZER = Dimension(name="optimizer", domain=Choice(values=("adamw", "sgd")))
MOMENTUM = Dimension(name="momentum", domain=FloatRange(low=0.5, high=0.9), condition={"optimizer": ("sgd",)})


def varied(name: str, domain: Domain, **condition: tuple[Value, ...]) -> Dimension:
    return Dimension(name=name, domain=domain, condition=condition)


def space(*dimensions: Dimension) -> Space:
    return Space(dimensions)


def test_a_space_that_can_be_searched_passes() -> None:
    space(LR, OPTIMIZER, MOMENTUM).check(Recipe())


@pytest.mark.parametrize(
    ("wrong", "kind", "sentence"),
    [
        (space(), EmptyInput, r"--space: no settings\. Pass --tune lr,batch_size or --space"),
        (
            space(varied("learn_rate", FloatRange(low=0.1, high=1))),
            BadChoice,
            r"--space learn_rate: no such setting\.",
        ),
        (space(varied("optimiser", Choice(values=("sgd",)))), BadChoice, r"Did you mean optimizer\?"),
        (
            space(varied("lr", FloatRange(low=1, high=0.1))),
            BadValue,
            r"--space lr: the range 1 to 0\.1 is empty\. Write the smaller number first\.",
        ),
        (
            space(varied("lr", FloatRange(low=0.1, high=0.1))),
            BadValue,
            r"is empty\. Set the value outside the space\.",
        ),
        (
            space(varied("lr", FloatRange(low=0, high=1, log=True))),
            BadValue,
            r"--space lr: 0 has no logarithm\. Start above 0",
        ),
        (
            space(varied("lr", FloatRange(low=0.1, high=math.inf))),
            BadValue,
            r"both ends of a range must be finite numbers, but this range is 0\.1 to inf",
        ),
        (
            space(varied("lr", FloatRange(low=math.nan, high=1))),
            BadValue,
            r"both ends of a range must be finite numbers",
        ),
        (
            space(varied("lr", FloatRange(low=0.1, high=1, step=2))),
            BadValue,
            r"the step 2 does not fit into 0\.1 to 1",
        ),
        (space(varied("epochs", IntRange(low=1, high=9, step=0))), BadValue, r"the step 0 does not fit into 1 to 9"),
        (
            space(varied("lr", FloatRange(low=0.1, high=1, log=True, step=0.1))),
            BadValue,
            r"a log range cannot have a step\. Remove the step",
        ),
        (
            space(varied("batch_size", Choice(values=()))),
            EmptyInput,
            r"the list of values is empty.*batch_size=\[16,32,64\]",
        ),
        (space(varied("batch_size", Choice(values=(16, 32, 16)))), BadValue, r"\[16, 32, 16\] contains a value twice"),
        (space(varied("lr", FloatRange(low=0, high=1))), BadValue, r"lr 0: must be a number, above 0 and at most 10"),
        (
            space(varied("dropout", FloatRange(low=0.5, high=1))),
            BadValue,
            r"dropout 1: must be a number, at least 0 and below 1",
        ),
        (
            space(varied("batch_size", Choice(values=(16, 0)))),
            BadValue,
            r"batch_size 0: must be a whole number, at least 1",
        ),
        (space(varied("optimizer", Choice(values=("sgd", "adamm")))), BadChoice, r"Did you mean adam\?"),
        (
            space(MOMENTUM),
            BadValue,
            r"--space momentum: its condition needs optimizer, which no earlier dimension varies\. Vary opt",
        ),
        (space(MOMENTUM, OPTIMIZER), BadValue, r"no earlier dimension varies"),
        (
            space(OPTIMIZER, varied("momentum", FloatRange(low=0.5, high=0.9), optimizer=("adam",))),
            BadValue,
            r"--space momentum: its condition optimizer = adam is never true",
        ),
        (
            space(
                OPTIMIZER,
                varied("batch_size", Choice(values=(16, 32)), optimizer=("sgd",)),
                varied("batch_size", Choice(values=(64,)), optimizer=("adamw",)),
            ),
            BadValue,
            r"--space batch_size: its two domains do not fit together\. Use the same values everywhere",
        ),
    ],
)
def test_a_mistake_is_one_sentence(wrong: Space, kind: type[ClearsightError], sentence: str) -> None:
    with pytest.raises(kind, match=sentence) as raised:
        wrong.check(Recipe())
    assert "\n" not in str(raised.value)


def test_a_setting_may_have_another_range_under_another_condition() -> None:
    twice = space(
        OPTIMIZER,
        varied("epochs", IntRange(low=5, high=10), optimizer=("sgd",)),
        varied("epochs", IntRange(low=20, high=40), optimizer=("adamw",)),
        varied("dropout", FloatRange(low=0, high=0.5), epochs=(30,)),
    )
    twice.check(Recipe())
    assert twice.names == ["optimizer", "epochs", "dropout"]
    assert twice.contains({"optimizer": "sgd", "epochs": 7})
    assert not twice.contains({"optimizer": "sgd", "epochs": 30, "dropout": 0.1})
    assert twice.contains({"optimizer": "adamw", "epochs": 30, "dropout": 0.1})


def test_the_grid_honours_conditions_and_the_last_varies_first() -> None:
    steps = varied("momentum", FloatRange(low=0.5, high=0.9, step=0.2), optimizer=("sgd",))
    sizes = varied("batch_size", Choice(values=(16, 32)))
    points = [tuple(point.values()) for point in space(OPTIMIZER, steps, sizes).grid()]
    assert points == [
        *[("adamw", size) for size in (16, 32)],
        *[("sgd", momentum, size) for momentum in (0.5, 0.7, 0.9) for size in (16, 32)],
    ]


def test_a_range_has_grid_values_from_end_to_end() -> None:
    assert FloatRange(low=0, high=1).grid_values(5) == (0, 0.25, 0.5, 0.75, 1)
    assert FloatRange(low=1e-4, high=1, log=True).grid_values(5) == pytest.approx((1e-4, 1e-3, 1e-2, 1e-1, 1))
    assert IntRange(low=1, high=3).grid_values(5) == (1, 2, 3)
    assert IntRange(low=1, high=100).grid_values(3) == (1, 50, 100)
    assert IntRange(low=1, high=1000, log=True).grid_values(4) == (1, 10, 100, 1000)
    assert FloatRange(low=0, high=0.3, step=0.1).grid_values(2) == (0, 0.1, 0.2, 0.3)
    assert FloatRange(low=0.05, high=0.9, step=0.4).grid_values(2) == (0.05, 0.45, 0.85)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"lr": 0.01, "optimizer": "sgd", "momentum": 0.7}, True),
        ({"lr": 0.01, "optimizer": "adamw"}, True),
        ({"lr": 0.01, "optimizer": "sgd"}, False),  # its momentum is missing
        ({"lr": 0.01, "optimizer": "adamw", "momentum": 0.7}, False),  # it has none
        ({"lr": 0.2, "optimizer": "adamw"}, False),
        ({"lr": 0.01, "optimizer": "adam"}, False),
        ({"lr": "0.01", "optimizer": "adamw"}, False),
        ({"lr": True, "optimizer": "adamw"}, False),
        ({"lr": 0.01, "optimizer": "adamw", "epochs": 3}, False),
        ({}, False),
    ],
)
def test_contains_exactly_the_settings_that_apply(params: dict[str, Any], expected: bool) -> None:
    assert space(LR, OPTIMIZER, MOMENTUM).contains(params) is expected


def test_contains_nothing_between_two_steps() -> None:
    stepped = space(
        varied("dropout", FloatRange(low=0, high=0.5, step=0.1)), varied("epochs", IntRange(low=5, high=20, step=5))
    )
    assert stepped.contains({"dropout": 0.1 * 3, "epochs": 15})
    assert not stepped.contains({"dropout": 0.35, "epochs": 15})
    assert not stepped.contains({"dropout": 0.3, "epochs": 16})
    assert not space(varied("epochs", IntRange(low=1, high=9))).contains({"epochs": 2.5})


def test_a_head_is_written_as_its_widths() -> None:
    assert settings_of({"head": "512,256", "lr": 0.1}) == {"head": ["512", "256"], "lr": 0.1}
    assert settings_of({"head": "512"}) == {"head": ["512"]}
    assert settings_of({"head": ""}) == {"head": []}
    assert settings_of({"model": "a,b", "epochs": None}) == {"model": "a,b", "epochs": None}
    assert Recipe().replace(**settings_of({"head": "512,256"})).model.head == (512, 256)


_numbers = st.floats(-1e6, 1e6)
_values = st.none() | st.booleans() | st.integers(-1000, 1000) | _numbers | st.text(max_size=5)
_domains = st.one_of(
    st.builds(FloatRange, low=_numbers, high=_numbers, log=st.booleans(), step=st.none() | _numbers),
    st.builds(IntRange, low=st.integers(), high=st.integers(), log=st.booleans(), step=st.integers(1, 9)),
    st.builds(Choice, values=st.lists(_values, max_size=4).map(tuple)),
)
_dimensions = st.builds(
    Dimension,
    name=st.text(max_size=5),
    domain=_domains,
    condition=st.dictionaries(st.text(max_size=5), st.lists(_values, max_size=3).map(tuple), max_size=2),
)


@given(st.lists(_dimensions, max_size=4))
def test_json_round_trip_is_exact(dimensions: list[Dimension]) -> None:
    written = Space(tuple(dimensions))
    assert Space.from_json(json.loads(json.dumps(written.to_json()))) == written


@given(
    low=st.floats(1e-6, 10),
    width=st.floats(1e-3, 10),
    parts=st.integers(1, 12),
    log=st.booleans(),
    count=st.integers(1, 9),
)
def test_contains_every_combination_of_its_grid(low: float, width: float, parts: int, log: bool, count: int) -> None:
    stepped = FloatRange(low=low, high=low + width, step=width / parts)
    smooth = FloatRange(low=low, high=low + width, log=log)
    for searched in (space(varied("lr", domain)) for domain in (stepped, smooth)):
        assert all(searched.contains(params) for params in searched.grid(count))
