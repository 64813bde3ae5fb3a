"""clearsight compare: tables that fit the terminal, the verdict, and the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clearsight.cli.messages import run_command
from clearsight.workflow.compare import compare, comparison_lines
from tests.workflow.run_folders import write_evaluation, write_run, write_verdicts

COMMANDS = {"compare": ("clearsight.cli.commands.compare", "compare runs")}


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    for name, hits in (("resnet50", 70), ("resnet101", 90), ("resnet152", 89)):
        run = write_run(tmp_path / name, model=name)
        write_evaluation(run, [place < hits for place in range(100)])
        if name == "resnet50":
            write_verdicts(run)
    return [str(tmp_path / name) for name in ("resnet50", "resnet101", "resnet152")]


def test_the_table_the_findings_and_the_verdict(folders: list[str]) -> None:
    lines = comparison_lines(compare(folders), 120)
    assert lines[0].split() == ["resnet50", "resnet101", "resnet152"]
    assert ["test", "accuracy", "70.0%", "90.0%", "89.0%"] in [line.split() for line in lines]
    assert "warning  resnet50: Overfit: validation loss rises while training loss falls" in lines
    assert lines[-1].startswith("verdict  resnet101 is best: it classifies 90.0% of 100 test images correctly")


def test_a_narrow_terminal_gets_one_table_below_the_other(folders: list[str]) -> None:
    comparison = compare(folders)
    lines = comparison_lines(comparison, 60)
    heads = [line.split() for line in lines if line.startswith(" " * 20) and line.split()[0].startswith("resnet")]
    assert heads == [["resnet50", "resnet101"], ["resnet152"]]
    tables = lines[: lines.index("warning  resnet50: Overfit: validation loss rises while training loss falls")]
    assert max(map(len, tables)) <= 60
    assert len(comparison_lines(comparison, 1)) > len(lines)  # one run each, however narrow


def test_the_page_is_written_to_out(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command("compare", folders, COMMANDS) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "page     compare.html"
    assert (tmp_path / "compare.html").is_file()
    assert run_command("compare", [*folders, "--out", "there/it.html", "--json"], COMMANDS) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["best"], result["page"]) == (["resnet101"], "there/it.html")
    assert (tmp_path / "there" / "it.html").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["FIRST"], "1 run: 2 to 12 can be compared"),
        (["FIRST", "nowhere"], "nowhere: there is no run in this folder"),
        (["FIRST", "FIRST"], "named more than once"),
        (["FIRST", "nowhere", "--format", "pdf", "--browser", "/none"], "--browser /none: there is no such program"),
        (["FIRST", "nowhere", "--format", "doc"], "'doc' is not one of 'html', 'pdf'"),
    ],
)
def test_mistakes_end_as_a_sentence(
    folders: list[str], words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("compare", [folders[0] if word == "FIRST" else word for word in words], COMMANDS) == 2
    assert sentence in capsys.readouterr().err
