"""YAML of people is read as they mean it, and costs little whatever is in it."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadValue
from clearsight.core.recipe import Recipe
from clearsight.core.yaml_file import MAX_BYTES, read_yaml, yaml_text


def read(folder: Path, text: str) -> dict[str, Any]:
    (folder / "a.yaml").write_text(text, encoding="utf-8")
    return read_yaml(folder / "a.yaml")


@pytest.mark.parametrize(
    "word", ["no", "on", "Yes", "y", "012", "1:30", "1.50", "1_000", "0x1F", "+5", "2024-01-01", "="]
)
def test_a_word_stays_the_word(tmp_path: Path, word: str) -> None:
    assert read(tmp_path, f"ignore_class: [{word}]") == {"ignore_class": [word]}
    assert Recipe.parse({"ignore_class": [word]}).data.ignore_class == (word,)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-1", -1),
        ("0.001", 0.001),
        ("1e-3", 0.001),
        ("1.0e-05", 1e-5),
        ("true", True),
        ("~", None),
        ("", None),
    ],
)
def test_numbers_switches_and_nothing_are_what_they_are(tmp_path: Path, text: str, value: object) -> None:
    assert read(tmp_path, f"x: {text}") == {"x": value}


def test_settings_read_the_words_of_people(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("refit: yes\nchannels_last: on\npatience: 012\nlr: 1.50e-3\nbatch_size: 1_6\n")
    recipe = Recipe.load(tmp_path / "r.yaml")
    assert (recipe.train.refit, recipe.train.channels_last, recipe.train.patience) == (True, "on", 12)
    assert (recipe.optim.lr, recipe.train.batch_size) == (0.0015, 16)
    (tmp_path / "r.yaml").write_text("time_limit: 1:30\n")
    with pytest.raises(BadValue, match=r"time_limit '1:30': must be a number of seconds, or a time such as 90s, 10m"):
        Recipe.load(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("lr: 1\nepochs: 2\nlr: 3\n", "lr is set twice, in lines 1 and 3. Keep one of them."),
        ("optim:\n  lr: 1\n  lr: 2\n", "lr is set twice, in lines 2 and 3. Keep one of them."),
        ("a: " + "[" * 5000 + "]" * 5000, "nested more than 20 levels deep"),
        ("a: " + "{b: " * 5000 + "1" + "}" * 5000, "nested more than 20 levels deep"),
        ("a: &a [*a]", "a value contains itself"),
        ("a: &a {b: {c: *a}}", "a value contains itself"),
        ("a: !!python/object/apply:os.system [x]", "not valid YAML"),
        ("a: !!timestamp 2", "not valid YAML"),
        ("a: !!bool x", "not valid YAML"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("? {b: 1}\n: 2", "not valid YAML"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
    ],
)
def test_what_is_refused_is_one_sentence(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(BadValue, match=re.escape(problem)):
        read(tmp_path, text)


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(BadValue, match=r"more than 100,000 values\. Write fewer aliases"):
        read(tmp_path, "\n".join(rows))


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="larger than 1,048,576 bytes"):
        read(tmp_path, "#" * (MAX_BYTES + 1))


def test_an_alias_and_a_merged_mapping_are_read(tmp_path: Path) -> None:
    text = "base: &b {lr: 1, epochs: 3}\noptim:\n  <<: *b\n  lr: 2\n"
    assert read(tmp_path, text)["optim"] == {"lr": 2, "epochs": 3}


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(string.printable),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(string.ascii_letters, min_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(string.ascii_letters, min_size=1), _VALUES, max_size=4))
def test_what_a_recipe_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    assert read(tmp_path_factory.getbasetemp(), yaml_text(values)) == values
