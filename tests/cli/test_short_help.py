"""--help is one screen with the options that matter; --help-all has every one."""

from __future__ import annotations

import importlib

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from clearsight.cli import COMMANDS
from clearsight.cli.other_words import flags_of

COLUMNS, LINES = 100, 40


def help_of(command: str, flag: str) -> str:
    app = importlib.import_module(COMMANDS[command][0]).app
    result = CliRunner().invoke(app, [flag], env={"COLUMNS": str(COLUMNS), "TERM": "dumb"}, prog_name="clearsight")
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("command", ["train", "tune", "predict", "evaluate", "serve", "models", "export", "data"])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_fits_one_screen(command: str, flag: str) -> None:
    lines = help_of(command, flag).splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= COLUMNS
    assert "Examples:" in map(str.strip, lines)


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("train", "--model --weights --freeze --epochs --lr --batch-size --image-size --augment --out --resume"),
        ("tune", "--tune --space --metric --trials --parallel --time-limit --resume --model --freeze"),
    ],
)
def test_the_short_help_has_the_options_that_matter(command: str, flags: str) -> None:
    words = help_of(command, "--help").split()
    assert set(flags.split()) <= set(words)
    assert "--help-all" in words
    assert "--warmup" not in words


@pytest.mark.parametrize("command", ["train", "tune"])
def test_the_whole_help_has_every_option(command: str) -> None:
    text = help_of(command, "--help-all")
    own = flags_of(get_command(importlib.import_module(COMMANDS[command][0]).app))
    missing = [flag for flag in own if flag.startswith("--") and flag not in text]
    assert missing == []
    assert "Recipe: optim" in text


def test_the_help_of_an_option_has_its_choices_and_default() -> None:
    text = " ".join(help_of("train", "--help").split())
    default = "[default: light in a second phase by --freeze auto, else none]"
    assert f"random changes of the training images {default} (none, light, standard, randaugment)" in text
    assert text.endswith("torchrun --nproc-per-node 2 -m clearsight train photos/ --out runs/two")
    assert "Usage: clearsight [OPTIONS] [DATA] " in text
    assert "--resume RUN" in text
    assert "--out PATH" in text
    assert "--split TEXT" in help_of("evaluate", "--help")


def test_help_after_the_whole_help_is_short_again() -> None:
    short = help_of("train", "--help")
    help_of("train", "--help-all")
    assert help_of("train", "--help") == short
