"""A recipe is its declared settings: read from YAML, keywords or flags, checked, and written back."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadChoice, BadValue, NotFound
from clearsight.core.recipe import Recipe, fields
from clearsight.core.yaml_file import read_yaml


def test_names_are_unique_over_all_sections() -> None:
    names = [name for _, name, _ in fields()]
    assert len(names) == len(set(names))


def test_every_setting_has_help() -> None:
    assert [name for _, name, info in fields() if not info.description] == []


def test_flat_and_nested_mean_the_same() -> None:
    assert Recipe.parse({"lr": 0.1}) == Recipe.parse({"optim": {"lr": 0.1}}) == Recipe().replace(lr=0.1)


def test_words_are_read_as_their_type() -> None:
    """Flags and SageMaker hyperparameters arrive as strings."""
    assert Recipe.parse({"freeze": 3}).model.freeze == "3"
    recipe = Recipe.parse({"lr": "1e-4", "epochs": "3", "head": ["750", "500"], "feature_cache": "false"})
    assert (recipe.optim.lr, recipe.train.epochs, recipe.model.head) == (1e-4, 3, (750, 500))
    assert recipe.train.feature_cache is False


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"lr": 0}, r"lr 0: must be a number, above 0 and at most 10\."),
        ({"lr": float("nan")}, r"lr nan: must be a finite number, above 0"),
        ({"epochs": "many"}, r"epochs 'many': must be a whole number, at least 1 and at most 100,000\."),
        ({"dropout": 1}, r"dropout 1: must be a number, at least 0 and below 1\."),
        ({"keep_pixels": "maybe"}, r"keep_pixels 'maybe': must be true or false\."),
        ({"mean": [0.5, 0.5]}, r"mean \[0\.5, 0\.5\]: must be a list of 3 numbers\."),
        ({"time_limit": "soon"}, r"time_limit 'soon': must be a number of seconds, or a time such as 90s"),
        ({"optim": 3}, r"optim: must be a mapping of settings"),
    ],
)
def test_a_value_out_of_range_names_key_and_value(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadValue, match=sentence):
        Recipe.parse(values)


def test_an_unknown_choice_gets_the_choices_and_the_nearest() -> None:
    with pytest.raises(BadChoice, match=r"Allowed: adamw, adam, sgd\. Did you mean adam\?"):
        Recipe.parse({"optimizer": "adamm"})


def test_an_unknown_key_gets_the_nearest_in_its_section() -> None:
    with pytest.raises(BadChoice, match=r"lrr: no such setting.*Did you mean lr\?"):
        Recipe.parse({"lrr": 1})
    with pytest.raises(BadChoice, match=r"optim\.epochs"):
        Recipe.parse({"optim": {"epochs": 1}})


def test_a_key_twice_is_refused() -> None:
    with pytest.raises(BadValue, match="set twice, once at the top and once in its section"):
        Recipe.parse({"lr": 1, "optim": {"lr": 1}})


@given(
    lr=st.floats(1e-8, 10, exclude_min=True),
    epochs=st.integers(1, 1000),
    head=st.lists(st.integers(1, 4096), max_size=3),
    mean=st.none() | st.tuples(*[st.floats(0, 1)] * 3),
    optimizer=st.sampled_from(["adamw", "adam", "sgd"]),
)
def test_yaml_round_trip_is_exact(tmp_path_factory: pytest.TempPathFactory, **values: object) -> None:
    recipe = Recipe.parse(values)
    path = tmp_path_factory.mktemp("yaml") / "recipe.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert Recipe.load(path) == recipe


def test_a_file_without_a_recipe_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Recipe.load(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n")
    with pytest.raises(BadValue, match="must be a mapping of settings"):
        read_yaml(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    with pytest.raises(BadValue, match="not valid YAML"):
        read_yaml(tmp_path / "broken.yaml")


def test_a_time_limit_may_have_a_unit() -> None:
    assert Recipe.parse({"time_limit": "10m"}).train.time_limit == 600
    assert Recipe.parse({"time_limit": 90}).train.time_limit == 90


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("head", "750,500,250", (750, 500, 250)),
        ("head", 750, (750,)),
        ("head", "", ()),
        ("mean", "0.5, 0.4, 0.3", (0.5, 0.4, 0.3)),
        ("on_finding", "severe=stop", ("severe=stop",)),
        ("rule", "Overfit(patience=3, min_gap=0.1)", ("Overfit(patience=3, min_gap=0.1)",)),
        ("ignore_class", "sea", ("sea",)),
        ("save", "gradients", ("gradients",)),
        ("time_limit", "10m", 600.0),
        ("value_range", "0,4095", (0.0, 4095.0)),
        ("value_range", "0-4095", (0.0, 4095.0)),
        ("value_range", "-1000..3000", (-1000.0, 3000.0)),
        ("value_range", "auto", None),
    ],
)
def test_text_of_a_flag_is_a_keyword_and_a_yaml_value(tmp_path: Path, name: str, text: object, value: object) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({name: text}))
    assert Recipe().replace(**{name: text}).flat()[name] == value
    assert Recipe.load(path).flat()[name] == value


@pytest.mark.parametrize("text", ["4095,0", "12 bits", "0,nan", "0", "1,2,3", "0-0"])
def test_a_range_of_values_that_does_not_rise_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="must be auto, or two numbers of which the second is larger, such as 0,4095"):
        Recipe().replace(value_range=text)


def test_a_wrong_item_of_a_list_in_text_is_named() -> None:
    with pytest.raises(BadValue, match="head 'wide': must be a list of whole numbers"):
        Recipe().replace(head="750,wide")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lr: " + "[" * 5000, "nested more than 20 levels deep"),
        ("lr: 2024-13-45", "must be a number"),
        ("lr: " + "9" * 5000, "not valid YAML"),
        (
            "a: &a [1,1,1,1,1,1,1,1,1]\n"
            + "".join(f"{k}: &{k} [{','.join(['*' + p] * 9)}]\n" for p, k in zip("abcdefg", "bcdefgh", strict=True)),
            "values",
        ),
        ("a: &a [*a]", "a value contains itself"),
        ("x" * (1 << 20) + "x", "larger than 1,048,576 bytes"),
    ],
    ids=["brackets", "date", "digits", "aliases", "itself", "size"],
)
def test_yaml_that_costs_much_or_cannot_be_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(BadValue, match=rf"^[^\n]*{sentence}[^\n]*$"):
        Recipe.load(tmp_path / "recipe.yaml")
