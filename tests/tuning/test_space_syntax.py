"""The notation of spaces: text and mappings become spaces, and a mistake is one sentence with an example."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadChoice, BadValue, ClearsightError, EmptyInput
from clearsight.core.recipe import Recipe, fields
from clearsight.core.settings import search_values
from clearsight.core.space import Choice, Dimension, Domain, FloatRange, IntRange, Space
from clearsight.tuning.space_syntax import (
    domain,
    format_dimension,
    merge_spaces,
    parse_space,
    space_from_mapping,
    usual_space,
)

USUAL = {name: text for _, name, info in fields() if (text := search_values(info))}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("lr", "log(1e-5,1e-1)", FloatRange(low=1e-5, high=0.1, log=True)),
        ("lr", " log( 1e-5 , 0.1 ) ", FloatRange(low=1e-5, high=0.1, log=True)),
        ("batch_size", "log(8,512)", IntRange(low=8, high=512, log=True)),
        ("momentum", "float(0.5,0.99)", FloatRange(low=0.5, high=0.99)),
        ("dropout", "float(0,0.5,0.1)", FloatRange(low=0, high=0.5, step=0.1)),
        ("epochs", "int(5,40)", IntRange(low=5, high=40)),
        ("epochs", "int(5,40,5)", IntRange(low=5, high=40, step=5)),
        ("lr", "int(1,3)", IntRange(low=1, high=3)),
        ("batch_size", "[16,32,64]", Choice(values=(16, 32, 64))),
        ("lr", "[1e-3, 1]", Choice(values=(0.001, 1.0))),
        ("optimizer", "[sgd, adamw]", Choice(values=("sgd", "adamw"))),
        ("feature_cache", "[true,off,Yes]", Choice(values=(True, False, True))),
        ("head", '[512,"512,256"]', Choice(values=("512", "512,256"))),
        ("image_size", "[none,128]", Choice(values=(None, 128))),
        ("lr", "[default,0.1]", Choice(values=(None, 0.1))),
        ("freeze", "[backbone,none,3]", Choice(values=("backbone", "none", "3"))),  # here "none" is a word
        ("batch_size", "[16,many]", Choice(values=(16, "many"))),  # the recipe says what is wrong with it
        ("batch_size", "[]", Choice(values=())),
        ("no_such_field", "[a,1]", Choice(values=("a", "1"))),  # the space's check has the nearest name
    ],
)
def test_text_becomes_a_domain(name: str, text: str, expected: Domain) -> None:
    assert domain(name, text) == expected


def test_each_text_is_one_dimension() -> None:
    assert parse_space(["lr=log(1e-5,1e-1)", "batch-size=[16,32]"]) == Space(
        (
            Dimension(name="lr", domain=FloatRange(low=1e-5, high=0.1, log=True)),
            Dimension(name="batch_size", domain=Choice(values=(16, 32))),
        )
    )


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("when optimizer=sgd", {"optimizer": ("sgd",)}),
        ("if optimizer=sgd|adam", {"optimizer": ("sgd", "adam")}),
        ("when optimizer=[sgd|adam]", {"optimizer": ("sgd", "adam")}),
        ("when optimizer = sgd and batch-size=16|32", {"optimizer": ("sgd",), "batch_size": (16, 32)}),
        ("when feature_cache=on", {"feature_cache": (True,)}),
        ("when head=512,256", {"head": ("512,256",)}),
    ],
)
def test_a_condition_follows_the_values(text: str, condition: dict[str, tuple[object, ...]]) -> None:
    (dimension,) = parse_space([f"momentum=float(0.5,0.99) {text}"]).dimensions
    assert dimension == Dimension(name="momentum", domain=FloatRange(low=0.5, high=0.99), condition=condition)


def test_a_mapping_has_lists_and_nested_choices() -> None:
    space = space_from_mapping(
        {
            "lr": "log(1e-5,1e-1)",
            "batch-size": [16, 32],
            "head": [[512], [512, 256], []],
            "optimizer": {
                "sgd": {"momentum": "float(0.5,0.99)", "schedule": {"step": {"gamma": [0.1, 0.5]}}},
                "adamw": None,
            },
            "warmup": FloatRange(low=0, high=0.3),
            "eps": "log(1e-10,1e-4) when optimizer=adamw",
        }
    )
    sgd = {"optimizer": ("sgd",)}
    assert [(dimension.name, dimension.condition) for dimension in space.dimensions] == [
        ("lr", {}),
        ("batch_size", {}),
        ("head", {}),
        ("optimizer", {}),
        ("momentum", sgd),
        ("schedule", sgd),
        ("gamma", {**sgd, "schedule": ("step",)}),
        ("warmup", {}),
        ("eps", {"optimizer": ("adamw",)}),
    ]
    assert space.dimensions[2].domain == Choice(values=("512", "512,256", ""))
    assert space.dimensions[4].domain == FloatRange(low=0.5, high=0.99)
    space.check(Recipe())


def test_a_later_space_replaces_the_dimensions_of_an_earlier_one() -> None:
    first, later = parse_space(["lr=log(1e-5,1e-1)", "epochs=int(5,40)"]), parse_space(["lr=[0.1,0.2]"])
    space = merge_spaces(first, later)
    assert [format_dimension(dimension) for dimension in space.dimensions] == ["epochs=int(5,40)", "lr=[0.1,0.2]"]


def test_merged_dimensions_follow_those_in_their_conditions() -> None:
    first = parse_space(["optimizer=[sgd,adamw]", "momentum=float(0.5,0.99) when optimizer=sgd", "epochs=int(5,40)"])
    space = merge_spaces(first, parse_space(["optimizer=[sgd,adam]"]))
    assert space.names == ["epochs", "optimizer", "momentum"]
    space.check(Recipe())


def test_an_impossible_condition_is_left_to_the_check() -> None:
    space = merge_spaces(parse_space(["momentum=float(0.5,0.99) when optimizer=sgd"]))
    with pytest.raises(BadValue, match="its condition needs optimizer, which no earlier dimension varies"):
        space.check(Recipe())


@pytest.mark.parametrize(
    ("text", "kind", "sentence"),
    [
        ("lr", BadValue, r"--space 'lr': no values\. Write \"lr=log\(1e-5,1e-1\)\", "),
        ("lr=0.1", BadValue, r"--space lr=0\.1: neither a range nor a list\. Write"),
        ("lr=", BadValue, r"--space lr=: neither a range nor a list"),
        ("lr=[0.1,0.2", BadValue, r"neither a range nor a list"),
        ("lr=long(1,2)", BadChoice, r"no such range\. Allowed: log\(A,B\), float.*Did you mean log\(A,B\)\?"),
        ("lr=log(a,b)", BadValue, r"--space lr=log\(a,b\): the ends of a range must be numbers"),
        ("lr=log()", BadValue, r"the ends of a range must be numbers"),
        ("lr=log(1)", BadValue, r"a range has two ends\. Write"),
        ("lr=log(1,2,3)", BadValue, r"a range has two ends\. Write"),
        ("lr=float(1,2,3,4)", BadValue, r"a range has two ends, and may have a step\. Write"),
        ("epochs=float(1,9)", BadValue, r"epochs takes whole numbers\. Write int\(1,9\)"),
        ("epochs=int(1,9.5)", BadValue, r"the ends of this range must be whole numbers"),
        ("epochs=int(1,inf)", BadValue, r"the ends of a range must be finite numbers"),
        ("lr=log(nan,1)", BadValue, r"the ends of a range must be finite numbers"),
        (
            "momentum=float(0,1) when optimizer",
            BadValue,
            r"its condition 'optimizer' has no value\. Write \"momentum=",
        ),
        ("momentum=float(0,1) when optimizer=", BadValue, r"its condition 'optimizer=' has no value"),
    ],
)
def test_a_mistake_in_text_is_one_sentence(text: str, kind: type[ClearsightError], sentence: str) -> None:
    with pytest.raises(kind, match=sentence) as raised:
        parse_space([text])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("values", "kind", "sentence"),
    [
        (["lr"], BadValue, r"--space: a space must be a mapping of settings\. For example"),
        ({"lr": None}, EmptyInput, r"--space lr: no values"),
        ({"lr": 0.1}, BadValue, r"--space lr: 0\.1 is neither a range nor a list"),
        ({"lr": "quickly"}, BadValue, r"--space lr=quickly: neither"),
        ({"optimizer": {"sgd": ["momentum"]}}, BadValue, r"--space optimizer: sgd must have a mapping of settings"),
    ],
)
def test_a_mistake_in_a_mapping_is_one_sentence(values: Any, kind: type[ClearsightError], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        space_from_mapping(values)


@pytest.mark.parametrize("name", USUAL)
def test_every_usual_range_can_be_searched(name: str) -> None:
    """The range of the declaration is read like any other, and lies within what the setting accepts."""
    space = usual_space([name])
    assert space.dimensions == (Dimension(name=name, domain=domain(name, USUAL[name])),)
    space.check(Recipe())


def test_a_choice_of_words_needs_no_range() -> None:
    assert usual_space(["optimizer"]).dimensions[0].domain == Choice(values=("adamw", "adam", "sgd"))


def test_all_usual_ranges_together_are_a_space() -> None:
    usual_space(USUAL).check(Recipe())


def test_a_setting_without_a_usual_range_is_an_error() -> None:
    with pytest.raises(BadChoice, match=r"--tune lrr: no such setting.*Did you mean lr\?"):
        usual_space(["lrr"])
    with pytest.raises(
        BadChoice, match=r'--tune seed: it has no usual range.*Give its values: --space "seed=\[A,B,C\]"'
    ):
        usual_space(["seed"])


_reals = st.floats(-1e9, 1e9) | st.sampled_from([1e-5, 0.1, 1234567.0, 1 / 3])
_words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=6)
_conditions = st.dictionaries(
    st.sampled_from(["optimizer", "schedule"]), st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=2).map(tuple)
)


def _dimension(name: str, domains: st.SearchStrategy[Any]) -> st.SearchStrategy[Dimension]:
    return st.builds(Dimension, name=st.just(name), domain=domains, condition=_conditions)


@given(
    st.one_of(
        _dimension("lr", st.builds(FloatRange, low=_reals, high=_reals, step=st.none() | _reals)),
        _dimension("lr", st.builds(FloatRange, low=_reals, high=_reals, log=st.just(True))),
        _dimension(
            "epochs",
            st.builds(IntRange, low=st.integers(-(2**50), 2**50), high=st.integers(0, 9**9), step=st.integers(1, 99)),
        ),
        _dimension("epochs", st.builds(IntRange, low=st.integers(0, 99), high=st.integers(0, 9**9), log=st.just(True))),
        _dimension("batch_size", st.builds(Choice, values=st.lists(st.integers() | st.none()).map(tuple))),
        _dimension("lr", st.builds(Choice, values=st.lists(_reals | st.none()).map(tuple))),
        _dimension("feature_cache", st.builds(Choice, values=st.lists(st.booleans()).map(tuple))),
        _dimension("head", st.builds(Choice, values=st.lists(st.sampled_from(["512", "512,256", ""])).map(tuple))),
        _dimension("weights", st.builds(Choice, values=st.lists(_words).map(tuple))),
    )
)
def test_formatted_text_is_read_back_as_equal(dimension: Dimension) -> None:
    """The advice of a report can be pasted after --space."""
    assert parse_space([format_dimension(dimension)]).dimensions == (dimension,)


@pytest.mark.parametrize(
    "text",
    [
        "lr=log(1e-05,0.1)",
        "epochs=int(5,40)",
        "epochs=int(5,40,5)",
        "dropout=float(0,0.5,0.1)",
        "momentum=float(0.5,0.99) when optimizer=sgd|adam and schedule=step",
        'head=[512,"512,256"]',
    ],
)
def test_formatted_text_is_as_short_as_a_person_writes_it(text: str) -> None:
    assert format_dimension(parse_space([text]).dimensions[0]) == text
