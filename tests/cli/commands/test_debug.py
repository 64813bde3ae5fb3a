"""clearsight debug: rules, tensors and export from the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from clearsight.cli import main
from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.workflow.debug import Diagnosis
from clearsight.workflow.display.text import diagnosis_lines
from tests.debugger.conftest import LIVE, write_run

FINDINGS = [
    Finding(
        rule="LearningRateTooHigh",
        verdict=Verdict.FOUND,
        severity=Severity.WARNING,
        value=0.93,
        threshold=0.5,
        unit="%",
        steps=(10, 120),
        subject="loss",
        cause="the loss rose by 0.93 %",
        fix={"lr": 1e-3},
        group="LearningRateTooHigh",
    ),
    Finding(
        rule="LossNotDecreasing",
        verdict=Verdict.FOUND,
        severity=Severity.INFO,
        advice="Call zero_grad.",
        group="LearningRateTooHigh",
    ),
    Finding(rule="Overfit", verdict=Verdict.CLEAR, value=0.1, threshold=0.2),
    Finding(rule="DeadRelu", verdict=Verdict.NOT_ENOUGH_DATA, cause="1 saved statistics of the 5 that it needs"),
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder."""
    write_run(tmp_path / "run", LIVE)
    return tmp_path / "run"


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Arguments of the verb `debug`, which returns FINDINGS."""
    received: dict[str, Any] = {}

    def debug(path: Path, *, rules: str, rule: list[str]) -> Diagnosis:
        received.update(path=path, rules=rules, rule=rule)
        return Diagnosis(findings=FINDINGS, points={"loss": {"train": 6}})

    monkeypatch.setattr("clearsight.workflow.debug.debug", debug)
    return received


def test_a_run_without_a_command_runs_the_rules(arguments: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["debug", "runs/first"]) == 0
    assert arguments == {"path": Path("runs/first"), "rules": "default", "rule": []}
    out = capsys.readouterr().out
    assert "LearningRateTooHigh  found    warning   0.93 % (limit 0.5)  10-120  loss" in out
    assert "    cause   the loss rose by 0.93 %\n    fix     --lr 0.001\n" in out
    assert "    advice  Call zero_grad.\n" in out
    assert "Overfit" not in out
    assert out.endswith("verdicts 2 found, 1 clear, 1 not enough data\n")


def test_flags_may_stand_before_the_run(arguments: dict[str, Any]) -> None:
    assert main(["debug", "--rules", "none", "--rule", "Overfit(patience=3)", "--rule", "mine.py", "r"]) == 0
    assert arguments == {"path": Path("r"), "rules": "none", "rule": ["Overfit(patience=3)", "mine.py"]}


def test_a_folder_with_the_name_of_a_command_needs_a_path(arguments: dict[str, Any]) -> None:
    assert main(["debug", "./tensors"]) == 0
    assert arguments["path"] == Path("tensors")


@pytest.mark.parametrize(("severity", "code"), [("severe", 0), ("warning", 3), ("info", 3)])
def test_fail_on_decides_the_exit_code(arguments: dict[str, Any], severity: str, code: int) -> None:
    assert main(["debug", "r", "--fail-on", severity]) == code


def test_json_is_alone_on_stdout(arguments: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["debug", "r", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [finding["rule"] for finding in result["findings"]] == [finding.rule for finding in FINDINGS]
    assert result["points"] == {"loss": {"train": 6}}


def test_all_shows_every_verdict_with_consequences_indented() -> None:
    lines = diagnosis_lines(FINDINGS, everything=True)
    assert [line.split("  ")[0] for line in lines if line.startswith(("Overfit", "DeadRelu"))] == [
        "Overfit",
        "DeadRelu",
    ]
    assert any(line.startswith("  LossNotDecreasing") for line in lines)
    assert "    cause   1 saved statistics of the 5 that it needs" in lines


def test_colours_are_for_terminals_alone() -> None:
    assert not any("\033" in line for line in diagnosis_lines(FINDINGS))
    assert any(line.startswith("\033[33mLearningRateTooHigh") for line in diagnosis_lines(FINDINGS, colour=True))


def test_without_a_rule_there_is_a_line_too() -> None:
    assert diagnosis_lines([]) == ["verdicts none: no rule was selected"]


def test_tensors_are_listed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["debug", "tensors", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "collection", "mode", "points", "steps", "last"]
    assert lines[1].split() == ["loss", "losses", "train", "6", "1-6", "0.1667"]
    assert [line.split()[0] for line in lines[1:]] == [
        *("loss", "lr", "valid_loss", "input_channels", "a.weight", "b.weight")
    ]


def test_tensors_are_selected_and_printed_as_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["debug", "tensors", str(run), "--name", "^a", "--collection", "weights", "--mode", "train"]
    assert main([*words, "--statistic", "q50", "--plot", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["tensors"]
    assert (row["name"], row["points"], row["statistic"], row["steps"]) == ("a.weight", 3, "q50", [2, 4, 6])
    assert row["value"] == row["values"][-1]


def test_a_plot_fits_the_terminal(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    assert main(["debug", "tensors", str(run), "--name", "loss", "--plot"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "loss, train"
    assert "valid_loss, eval" in lines
    assert max(map(len, lines)) == 50


def test_without_a_match_there_is_a_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["debug", "tensors", str(run), "--name", "nothing"]) == 0
    assert capsys.readouterr().out == "nothing that was saved matches\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["tensors", "RUN", "--collection", "weightz"], "Did you mean weights?"),
        (["tensors", "RUN", "--mode", "test"], "Allowed: train, eval, predict"),
        (["tensors", "RUN", "--statistic", "meen"], "Did you mean mean?"),
        (["tensors", "nowhere"], "no run in this folder"),
        (["export", "RUN"], "Missing option '--tensorboard'"),
    ],
)
def test_mistakes_end_as_a_sentence(
    run: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["debug", *(str(run) if word == "RUN" else word for word in words)]) == 2
    assert sentence in capsys.readouterr().err


def test_export_names_its_folders(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    assert main(["debug", "export", str(run), "--tensorboard", str(tmp_path / "logs")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"events   {tmp_path}{os.sep}logs{os.sep}train",
        f"events   {tmp_path}{os.sep}logs{os.sep}eval",
    ]
