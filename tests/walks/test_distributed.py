"""Two processes of torchrun train the model of one process within rounding; one of them writes the run folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from clearsight import open_run
from clearsight.core.events import RunStatus
from clearsight.core.run import Run
from tests.walks.commands import run

pytestmark = pytest.mark.slow

SETTINGS = (
    "--model",
    "tiny",
    "--weights",
    "none",
    "--image-size",
    "16",
    "--limit",
    "400",
    "--epochs",
    "2",
    "--lr",
    "0.01",
)
# BatchNorm sees half a batch in each of two processes; without its statistics both must compute the same.
PLAIN = ("--optimizer", "sgd", "--momentum", "0", "--schedule", "constant", "--warmup", "0")


def torchrun(*words: object) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "clearsight"]
    return subprocess.run([*start, *map(str, words)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> tuple[Path, Path]:
    """A head on a frozen backbone, trained by one process, and by two with half the batch each."""
    folder = tmp_path_factory.mktemp("ddp")
    common = ("train", digits, *SETTINGS, *PLAIN, "--freeze", "backbone", "--class-weights", "balanced")
    run(*common, "-b", "32", "--out", folder / "one")
    done = torchrun(*common, "-b", "16", "--out", folder / "two")
    assert done.returncode == 0, done.stderr
    return folder / "one", folder / "two"


def test_two_processes_train_the_model_of_one(frozen: tuple[Path, Path]) -> None:
    single, double = (load_file(folder / "model" / "model.safetensors") for folder in frozen)
    for name in single:
        assert np.allclose(single[name], double[name], atol=1e-5), name


def test_metrics_are_over_all_images_and_written_once(frozen: tuple[Path, Path]) -> None:
    single, double = (Run.open(folder) for folder in frozen)
    assert double.status is RunStatus.COMPLETED
    losses = [[line["value"] for line in r.metrics() if line["name"] == "loss"] for r in (single, double)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert single.scores["test"]["accuracy"] == pytest.approx(double.scores["test"]["accuracy"])


@pytest.mark.slow
def test_the_whole_network_trains_in_two_processes(digits: Path, tmp_path: Path) -> None:
    done = torchrun("train", digits, *SETTINGS, "-b", "16", "--out", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    found = Run.open(tmp_path / "run")
    assert found.status is RunStatus.COMPLETED
    first, last = found.epochs()[0], found.epochs()[-1]
    assert last["train"]["loss"] < first["train"]["loss"]
    assert done.stdout.count('"status"') == 1


def test_two_processes_need_out(digits: Path) -> None:
    done = torchrun("train", digits, *SETTINGS)
    assert done.returncode != 0
    assert "Pass --out" in done.stderr


def test_each_process_measures_itself(frozen: tuple[Path, Path]) -> None:
    profile = open_run(frozen[1]).profile()
    assert profile.ranks() == (0, 1)
    assert profile.steps(0).steps.tolist() == profile.steps(1).steps.tolist()
    assert "tree.cpu" in profile.gauges(1)
