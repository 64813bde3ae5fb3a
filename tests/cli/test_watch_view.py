"""Screen of a run: it fits every terminal, and keeps the state when there is little room."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from clearsight.cli.watch_view import Screen, screen
from clearsight.core.events import RunStatus
from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.core.run import Run
from clearsight.core.stop import StopKind, StopReason
from clearsight.workflow.live import LiveRun
from tests.workflow.run_folders import append_epochs, append_findings, append_profile, write_run

FINDING = Finding(
    rule="Overfit",
    verdict=Verdict.FOUND,
    severity=Severity.WARNING,
    subject="loss",
    steps=(1, 20),
    cause="the validation loss rises while the training loss goes on falling, as when a network memorises its images",
    fix={"weight_decay": 0.05},
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = write_run(tmp_path / "first", epochs=6, done=3, status=RunStatus.RUNNING)
    append_epochs(run, [4], steps=9, whole=False)
    gauges = {"cpu": 90.0, "tree.cpu": 80.0, "memory": 40.0, "tree.memory": 2.0 * 2**30}
    append_profile(run, gauges=gauges | {"gpu0": 55.0, "gpu0.memory": 30.0, "gpu1": 5.0})
    append_findings(run, FINDING)
    return run


def shown(run: Run, width: int = 80, height: int = 24, *, unicode: bool = True) -> list[str]:
    live = LiveRun(run.path)
    live.update()
    return [line.text for line in screen(live, width, height, unicode=unicode)]


@pytest.mark.parametrize(("width", "height"), [(20, 4), (32, 10), (40, 24), (60, 30), (80, 24), (132, 43), (250, 80)])
@pytest.mark.parametrize("unicode", [True, False])
def test_it_fits_the_terminal(run: Run, width: int, height: int, unicode: bool) -> None:
    lines = shown(run, width, height, unicode=unicode)
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width
    assert unicode or "".join(lines).isascii()
    assert lines[0].startswith("first  running")
    assert lines[1].startswith("epoch 4/6  step 69")


def test_an_ordinary_terminal_shows_everything(run: Run) -> None:
    lines = shown(run)
    text = "\n".join(lines)
    assert "step 69/120" in text
    assert "57%" in text
    assert "6.4 s left" in text
    assert "train    loss 0.4888  accuracy 80.0%  learning rate 0.00025" in lines
    assert "valid    loss 0.4333  accuracy 74.7%  epoch 3" in lines
    assert "speed    160 images/s  data wait 10%" in lines
    assert "step     100.0 ms  data 20%  forward 30%  backward 40%  other 10%" in lines
    assert "machine  cpu 90% (80% this run)  memory 40% (2.0 GiB this run)" in lines
    assert "         gpu0 55%, memory 30%  gpu1 5%" in lines
    assert any("training loss by step" in line and "validation accuracy by epoch" in line for line in lines)
    assert any(line.startswith("warning  Overfit") for line in lines)
    assert lines[-1] == "fix      --weight-decay 0.05"


def test_a_narrow_terminal_has_one_curve_below_the_other(run: Run) -> None:
    lines = shown(run, 60, 40)
    assert lines.index("training loss by step") < lines.index("validation accuracy by epoch")
    assert "training loss by step" not in shown(run, 60, 10)


def test_many_findings_are_cut(run: Run) -> None:
    append_findings(run, *(replace(FINDING, rule=f"Rule{i}") for i in range(50)))
    lines = shown(run)
    assert lines[-1] == "…"
    assert len(lines) <= 24
    assert any("training loss by step" in line for line in lines)


def test_what_is_not_measured_is_not_shown(tmp_path: Path) -> None:
    lines = shown(write_run(tmp_path / "new", done=0, status=RunStatus.RUNNING))
    assert [line.split()[0] for line in lines] == ["new", "epoch"]
    assert "step 0/60" in lines[1]


def test_the_end_is_shown_with_its_reason(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", done=1, status=RunStatus.RUNNING)
    run.finish(RunStatus.DIVERGED, StopReason(StopKind.DIVERGED, "the loss is not a number"))
    lines = shown(run)
    assert lines[0].startswith("r  diverged (the loss is not a number)")
    assert "left" not in lines[1]


def test_rich_draws_exactly_those_lines(run: Run) -> None:
    live = LiveRun(run.path)
    live.update()
    out = io.StringIO()
    console = Console(
        file=out, width=80, height=24, force_terminal=True, color_system="truecolor", legacy_windows=False
    )
    console.print(Screen(live, unicode=True))
    assert "\x1b[1;36mfirst  running" in out.getvalue()
    assert "\x1b[33mwarning  Overfit" in out.getvalue()
    plain = io.StringIO()
    Console(file=plain, width=80, height=24).print(Screen(live, unicode=True))
    assert plain.getvalue().splitlines() == [line.text for line in screen(live, 80, 24)]
