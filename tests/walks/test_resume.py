"""A run survives kill -9, SIGTERM and Ctrl-C. Resumed, it ends with the same bits as an uninterrupted run."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from clearsight.core.events import RunStatus
from clearsight.core.finding import read_findings
from clearsight.core.run import Run
from clearsight.core.stop import StopKind
from clearsight.profiler.rules import PROFILER_RULES
from tests.walks.commands import CLEARSIGHT, error_of, json_of, run

SETTINGS = ("--model", "tiny", "--weights", "none", "--image-size", "16", "--limit", "400", "--epochs", "6", "-b", "16")
RANDOM_SETTINGS = (
    "--augment",
    "light",
    "--mixup",
    "0.2",
    "--ema",
    "0.9",
    "--dropout",
    "0.2",
    "--head",
    "32",
    "--seed",
    "3",
)


def bits(run_folder: Path) -> dict[str, torch.Tensor]:
    return load_file(run_folder / "model" / "model.safetensors")


def same(folder_a: Path, folder_b: Path) -> bool:
    first, second = bits(folder_a), bits(folder_b)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def undisturbed(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    run("train", digits, *SETTINGS, *RANDOM_SETTINGS, "--out", out)
    return out


def verdicts(run_folder: Path) -> set[tuple[str, str]]:
    """Return the verdicts about the model; those about speed depend on what else the machine does."""
    found = read_findings(run_folder / "findings.jsonl")
    return {(finding.rule, finding.verdict.value) for finding in found if finding.rule not in PROFILER_RULES.names()}


def interrupt(words: list[str], line: str, number: signal.Signals) -> int:
    """Start a command, send it a signal when it prints a line that begins with `line`, and return its exit code."""
    with subprocess.Popen(
        [*CLEARSIGHT, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        for printed in process.stdout:
            if printed.startswith(line):
                process.send_signal(number)
                break
        process.stdout.read()
        return process.wait()


def test_the_same_seed_gives_the_same_bits_and_the_same_figures(
    digits: Path, undisturbed: Path, tmp_path: Path
) -> None:
    second = json_of("train", digits, *SETTINGS, *RANDOM_SETTINGS, "--out", tmp_path / "again")
    assert same(undisturbed, tmp_path / "again")
    assert second["test"] == Run.open(undisturbed).scores["test"]


@pytest.mark.slow
def test_after_repeated_kill_9_the_weights_are_bit_equal(digits: Path, undisturbed: Path, tmp_path: Path) -> None:
    """The run is killed before its first step, within an epoch, and after a checkpoint."""
    out = tmp_path / "killed"
    often = ["--checkpoint-every", "0.05"]
    fresh = ["train", str(digits), *SETTINGS, *RANDOM_SETTINGS, "--out", str(out), *often]
    assert interrupt(fresh, "work", signal.SIGKILL) == -signal.SIGKILL
    assert (Run.open(out).status, Run.open(out).stop_kind) == (RunStatus.INTERRUPTED, StopKind.KILLED)
    for epoch in ("1", "3", "5"):
        assert interrupt(["train", "--resume", str(out)], f"epoch {epoch}/6", signal.SIGKILL) == -signal.SIGKILL
    run("train", "--resume", out)
    assert same(undisturbed, out)
    assert Run.open(out).status is RunStatus.COMPLETED
    steps = [line["step"] for line in Run.open(out).metrics() if line["name"] == "loss"]
    assert steps == sorted(set(steps)), "every step once, in order"
    expected = [line for line in Run.open(undisturbed).metrics() if line["name"] == "loss"]
    assert [line for line in Run.open(out).metrics() if line["name"] == "loss"] == expected


def test_a_signal_leaves_a_resumable_run(digits: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    fresh = ["train", str(digits), *SETTINGS, *RANDOM_SETTINGS, "--out", str(out)]
    resumed = ["train", "--resume", str(out)]
    for words, line, number in ((fresh, "epoch 2/6", signal.SIGINT), (resumed, "epoch 4/6", signal.SIGTERM)):
        assert interrupt(words, line, number) == 130
        stopped = Run.open(out)
        assert (stopped.status, stopped.reason) == (RunStatus.INTERRUPTED, f"stopped by {number.name}")
    run("train", "--resume", out)
    assert same(undisturbed, out)
    assert verdicts(out) == verdicts(undisturbed)


@pytest.mark.slow
def test_a_run_ended_by_its_time_limit_can_be_resumed(digits: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "limited"
    found = json_of("train", digits, *SETTINGS, *RANDOM_SETTINGS, "--out", out, "--time-limit", "0.001s")
    assert found["status"] == "stopped_early"
    assert "time limit" in found["reason"]
    run("train", "--resume", out)
    assert same(undisturbed, out)


def test_resume_accepts_no_other_settings(undisturbed: Path, digits: Path, tmp_path: Path) -> None:
    assert "--lr cannot be used with it" in error_of("train", "--resume", undisturbed, "--lr", "1")
    assert "no run.json" in error_of("train", "--resume", tmp_path)
    assert "a run is there already" in error_of("train", digits, *SETTINGS, "--out", undisturbed)


def test_data_that_changed_are_refused(digits: Path, tmp_path: Path) -> None:
    import shutil

    data, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(digits, data)
    fresh = ["train", str(data), *SETTINGS, "--out", str(out)]
    assert interrupt(fresh, "epoch 2/6", signal.SIGKILL) == -signal.SIGKILL
    for victim in sorted((data / "train" / "3").iterdir())[:60]:
        victim.unlink()
    assert "the data have changed since the run began" in error_of("train", "--resume", out)
