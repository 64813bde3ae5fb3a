"""Every setting of a recipe and of a study plan is a flag, with the help and the default of its declaration."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args

import typer
from typer.testing import CliRunner

from clearsight.cli.setting_flags import _PLACEHOLDERS, with_plan_flags, with_recipe_flags
from clearsight.core.recipe import Recipe, fields
from clearsight.core.settings import declared, value_types
from clearsight.core.study import StudyPlan
from clearsight.tuning.pruners import PRUNERS
from clearsight.tuning.searchers import SEARCHERS

ALL = [name for _, name, _ in fields()]


def recipe_command(received: dict[str, Any]) -> Callable[..., Any]:
    def command(*, settings: dict[str, Any]) -> None:
        received.update(settings)

    return with_recipe_flags(command, ALL)


def plan_command(received: dict[str, Any]) -> Callable[..., Any]:
    def command(*, plan: dict[str, Any]) -> None:
        received.update(plan)

    return with_plan_flags(command)


def parse(*words: str, make: Callable[[dict[str, Any]], Callable[..., Any]] = recipe_command) -> dict[str, Any]:
    """Return the values that a command receives for these words."""
    received: dict[str, Any] = {}
    app = typer.Typer(add_completion=False)
    app.command()(make(received))
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return received


def help_text(command: Callable[..., Any]) -> str:
    app = typer.Typer(add_completion=False)
    app.command()(command)
    output = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "250", "TERM": "dumb"}).output
    return " ".join(output.split())


def test_every_setting_has_a_flag() -> None:
    assert set(inspect.signature(recipe_command({})).parameters) == set(ALL)
    assert set(inspect.signature(plan_command({})).parameters) == set(declared(StudyPlan))


def test_a_command_keeps_its_own_parameters() -> None:
    def command(path: str, *, plan: dict[str, Any], settings: dict[str, Any]) -> None: ...

    parameters = list(inspect.signature(with_recipe_flags(with_plan_flags(command), ["lr"])).parameters)
    assert parameters == ["path", *declared(StudyPlan), "lr"]


def test_only_given_flags_are_settings() -> None:
    assert parse() == {}
    assert parse("--lr", "1e-3", "-b", "16", "-m", "resnet34") == {
        "lr": "1e-3",
        "batch_size": "16",
        "model": "resnet34",
    }
    assert parse("--learning-rate", "0.1") == {"lr": "0.1"}
    assert parse("--no-feature-cache") == {"feature_cache": False}


def test_text_becomes_a_recipe() -> None:
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


def test_text_becomes_a_plan() -> None:
    words = ("--search", "random", "--prune", "none", "--trials", "7", "--warm-start", "a", "--warm-start", "b")
    assert parse(*words, "--time-limit", "2m", make=plan_command) == {
        "searcher": "random",
        "pruner": "none",
        "trials": "7",
        "time_limit": "2m",
        "warm_start": ["a", "b"],
    }


def test_flags_that_may_be_repeated_are_lists_of_words() -> None:
    infos = {name: info for _, name, info in fields()} | declared(StudyPlan)
    words = [name for name, info in infos.items() if tuple in value_types(info) and str in get_args(info.annotation)]
    assert set(words) == set(_PLACEHOLDERS), "each has a placeholder of its own in help"


def test_help_has_defaults_and_choices() -> None:
    text = help_text(recipe_command({}))
    assert "adamw|adam|sgd" in text
    assert "[default: that of the weights]" in text
    assert "[default: 32]" in text
    assert "--time-limit TIME" in text


def test_help_of_a_plan_names_all_searchers_and_pruners() -> None:
    text = help_text(plan_command({}))
    assert [name for name in (*SEARCHERS.names(), *PRUNERS) if name not in text] == []
    assert "--warm-start STUDY" in text
    assert "[default: 10]" in text
