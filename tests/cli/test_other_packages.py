"""Commands of other packages: listed without being imported, run like any other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from clearsight.cli import all_commands, main

MODULE = '''"""clearsight garden: plant a tree."""

import typer

app = typer.Typer()


@app.command()
def plant(count: int = 1) -> int:
    """Plant trees."""
    print(f"planted {count}")
    return 0


@app.command()
def water() -> None:
    """Water trees."""
'''


@pytest.fixture
def garden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with a command of clearsight, on the path of modules."""
    (tmp_path / "garden_plugin.py").write_text(MODULE)
    facts = tmp_path / "garden-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: garden\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[clearsight.commands]\ngarden = garden_plugin:app\ntrain = garden_plugin:app\nlost = no_such_module:app\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "garden_plugin", raising=False)


@pytest.mark.usefixtures("garden")
def test_the_help_lists_it_without_importing_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "garden      plant a tree\n" in capsys.readouterr().out
    assert "garden_plugin" not in sys.modules


@pytest.mark.usefixtures("garden")
def test_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["garden", "plant", "--count", "3"]) == 0
    assert capsys.readouterr().out == "planted 3\n"
    assert main(["garden", "--nonsense"]) == 2


@pytest.mark.usefixtures("garden")
def test_a_command_of_clearsight_stays() -> None:
    found = all_commands()
    assert found["train"][0] == "clearsight.cli.commands.train"
    assert found["lost"] == ("no_such_module", "")
