"""The run of a Hook, in a training loop of the user's own, can be reported, watched and compared."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from clearsight.core.errors import NotFound
from clearsight.core.events import RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.debugger.hook import Hook
from clearsight.workflow.compare import compare
from clearsight.workflow.live import LiveRun
from clearsight.workflow.messages import epoch_line, external_end_lines
from clearsight.workflow.run.external import ExternalRun, epoch_records, find_run
from clearsight.workflow.run.report import rewrite_report

EPOCHS, STEPS = 3, 4


def loop(folder: Path, *, lr: float = 0.1, closed: bool = True) -> Path:
    """Train a tiny network on separable points by a plain loop with a Hook."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model, criterion = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    hook = Hook(folder, epochs=EPOCHS, steps=EPOCHS * STEPS, classes=["a", "b"], quiet=True)
    hook.watch(model, loss=criterion, optimizer=optimizer)
    points = torch.randn(STEPS, 16, 4, generator=generator)
    for _ in range(EPOCHS):
        for batch in points:
            optimizer.zero_grad()
            criterion(model.train()(batch), (batch[:, 0] > 0).long()).backward()
            optimizer.step()
        with torch.no_grad():
            criterion(model.eval()(points[0]), (points[0][:, 0] > 0).long())
    if closed:
        hook.close()
    return folder


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from clearsight.debugger.hook import Hook
model, how = torch.nn.Linear(4, 2), sys.argv[2]
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
hook = Hook(sys.argv[1], quiet=True, rules="none").watch(model, optimizer=optimizer)
for _ in range(3):
    loss = model(torch.randn(8, 4)).square().mean()
    hook.record(loss=loss)
    loss.backward()
    optimizer.step()
if how.isdigit():
    os.kill(os.getpid(), int(how))
raise {"error": ValueError, "ctrl-c": KeyboardInterrupt, "exit": SystemExit}[how]
"""


@pytest.mark.parametrize(
    ("how", "status"),
    [
        (str(int(signal.SIGKILL)), RunStatus.INTERRUPTED),
        (str(int(signal.SIGTERM)), RunStatus.INTERRUPTED),
        ("ctrl-c", RunStatus.INTERRUPTED),
        ("error", RunStatus.FAILED),
        ("exit", RunStatus.COMPLETED),
    ],
)
def test_the_status_is_true_however_the_process_ends(how: str, status: RunStatus, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(out), how], stderr=subprocess.DEVNULL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and its parent has not asked for its exit code
    live = LiveRun(out)
    live.update()
    assert (live.run.status, live.ended) == (status, True)
    process.wait()
    assert find_run(out).status is status


def test_a_hook_that_watches_is_running(tmp_path: Path) -> None:
    run = find_run(loop(tmp_path / "mine", closed=False))
    assert (run.status, run.reason) == (RunStatus.RUNNING, "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return loop(tmp_path_factory.mktemp("runs") / "mine")


def test_a_folder_is_the_run_of_a_hook_or_of_clearsight(folder: Path, tmp_path: Path) -> None:
    run = find_run(folder)
    assert isinstance(run, ExternalRun)
    assert (run.name, run.status, run.context.model) == ("mine", RunStatus.COMPLETED, "Sequential")
    assert isinstance(find_run(Run.begin(tmp_path / "own", Recipe()).path), Run)


def test_a_folder_without_a_run_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no run in this folder"):
        find_run(tmp_path)


def test_epochs_are_the_means_of_their_batches(folder: Path) -> None:
    run = find_run(folder)
    epochs, rows = run.epochs(), run.metrics()
    assert [(epoch["epoch"], epoch["epochs"], epoch["step"]) for epoch in epochs] == [(1, 3, 4), (2, 3, 8), (3, 3, 12)]
    first = [row["value"] for row in rows if (row["mode"], row["name"], row["epoch"]) == ("train", "loss", 1)]
    assert epochs[0]["train"]["loss"] == pytest.approx(sum(first) / STEPS)
    last = [row["value"] for row in rows if (row["mode"], row["name"], row["epoch"]) == ("eval", "accuracy", 3)]
    assert epochs[-1]["valid"]["accuracy"] == last[0]


def test_the_best_epoch_is_that_of_the_highest_validation_accuracy() -> None:
    rows = [
        {"step": epoch, "epoch": epoch, "mode": mode, "name": "accuracy", "value": value}
        for epoch, value in ((1, 0.5), (2, 0.9), (3, 0.7))
        for mode in ("train", "eval")
    ]
    assert [record.best for record in epoch_records(rows, epochs=0)] == [True, True, False]


def test_times_that_nobody_measured_are_not_reported(folder: Path) -> None:
    assert not {"seconds", "images_per_second", "data_share"} & set(find_run(folder).epochs()[0])
    assert "images/s" not in epoch_line(watched(folder).metrics.epochs[0])


def test_the_report_has_curves_findings_and_what_the_loop_uses(folder: Path) -> None:
    page = rewrite_report(find_run(folder))
    html, sections = page.read_text(), json.loads(page.with_suffix(".json").read_text())["sections"]
    assert "Sequential, trained by a loop of your own, finished after 3 epochs and 12 steps." in html
    assert {"epoch-loss", "epoch-accuracy", "step-loss", "rate"} <= set(sections["curves"]["panels"])
    assert "What the loop uses" in html
    assert "rules" not in sections or sections["rules"]


def watched(folder: Path) -> LiveRun:
    live = LiveRun(folder)
    live.update()
    return live


def test_a_loop_can_be_watched(folder: Path) -> None:
    live = watched(folder)
    assert (live.ended, live.plan.model, live.planned_steps, live.metrics.step) == (True, "Sequential", 12, 12)
    assert [record.epoch for record in live.metrics.epochs] == [1, 2, 3]
    assert live.to_json()["epochs"] == EPOCHS
    assert external_end_lines(find_run(folder))[-1] == f"next     clearsight report {folder}"  # type: ignore[arg-type]


def test_a_loop_that_goes_on_is_running(folder: Path, tmp_path: Path) -> None:
    going_on = tmp_path / "going-on"
    going_on.mkdir()
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    cut = next(i for i, line in enumerate(lines) if json.loads(line)["epoch"] == 2)
    (going_on / "metrics.jsonl").write_text("".join(lines[: cut + 1]))
    live = watched(going_on)
    assert (live.ended, len(live.metrics.epochs), live.metrics.epoch) == (False, 1, 2)


def test_loops_are_compared_with_each_other_and_with_runs(folder: Path, tmp_path: Path) -> None:
    other = loop(tmp_path / "slow", lr=1e-4)
    rows = {row[0]: row[1:] for row in compare([folder, other]).rows()}
    assert rows["lr"] == ("0.1", "0.0001")
    assert rows["status"] == ("completed", "completed")
    own = Run.begin(tmp_path / "own", Recipe().replace(lr=0.1))
    own.files.metrics().write_text("")
    mixed = {row[0] for row in compare([folder, own.path]).rows()}
    assert "augment" not in mixed  # of the loop it is not known
