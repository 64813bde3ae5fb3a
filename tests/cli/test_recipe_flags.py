"""Every recipe field is a flag, and a flag says what the field says."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from clearsight.cli.recipe_flags import seconds, with_recipe_flags
from clearsight.core.errors import BadValue
from clearsight.core.recipe import Recipe, fields

ALL = [name for _, name, _ in fields()]


def parse(*words: str) -> dict[str, Any]:
    """The settings that a command gets from these words."""
    got: dict[str, Any] = {}

    def command(*, settings: dict[str, Any]) -> None:
        got.update(settings)

    app = typer.Typer(add_completion=False)
    app.command()(with_recipe_flags(command, ALL))
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return got


def test_every_field_has_a_flag() -> None:
    def command(*, settings: dict[str, Any]) -> None: ...

    names = set(inspect.signature(with_recipe_flags(command, ALL)).parameters)
    assert names == {name for _, name, _ in fields()}


def test_only_what_was_said_is_a_setting() -> None:
    assert parse() == {}
    assert parse("--lr", "1e-3", "-b", "16", "-m", "resnet34") == {
        "lr": "1e-3",
        "batch_size": "16",
        "model": "resnet34",
    }
    assert parse("--learning-rate", "0.1") == {"lr": "0.1"}
    assert parse("--no-feature-cache") == {"feature_cache": False}


def test_words_become_the_recipe_that_was_meant() -> None:
    words = (
        "--head",
        "750,500",
        "--mean",
        "0.5,0.5,0.5",
        "--ignore-class",
        "a b",
        "--ignore-class",
        "c",
        "--time-limit",
        "2m",
    )
    recipe = Recipe().replace(**parse(*words))
    assert recipe.model.head == (750, 500)
    assert recipe.data.mean == (0.5, 0.5, 0.5)
    assert recipe.data.ignore_class == ("a b", "c")
    assert recipe.train.time_limit == 120


@pytest.mark.parametrize(("text", "wanted"), [("90", 90), ("90s", 90), ("1.5h", 5400), ("2d", 172800), ("10M", 600)])
def test_durations(text: str, wanted: float) -> None:
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["", "m", "-3s", "3 weeks", "1e3"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(BadValue, match="10m"):
        seconds(text)


def test_help_shows_defaults_and_choices() -> None:
    app = typer.Typer(add_completion=False)

    def command(*, settings: dict[str, Any]) -> None: ...

    app.command()(with_recipe_flags(command, ALL))
    said = " ".join(CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output.split())
    assert "adamw|adam|sgd" in said
    assert "[default: the weights' own]" in said
    assert "[default: 32]" in said
