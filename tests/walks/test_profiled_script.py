"""`clearsight profile -- COMMAND` profiles an unchanged script and does not change its results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from clearsight.core.profile_folder import read_profile
from tests.walks.commands import CLEARSIGHT, json_of

FOLDER = Path(__file__).parent
SLEEP = 0.02  # seconds for each image that is decoded


def script(scenes: Path, out: Path, workers: int, seconds: float) -> list[str]:
    return [
        sys.executable,
        str(FOLDER / "profiled_script.py"),
        str(scenes / "seg_train"),
        str(out),
        str(workers),
        str(seconds),
    ]


def profiled(folder: Path, *command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    words = [*CLEARSIGHT, "profile", "--every", "0.2", "--out", str(folder), "--", *command]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module", params=[0, 2])
def slow(
    request: pytest.FixtureRequest, scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, Path, subprocess.CompletedProcess[str]]:
    """A profiled script with slow decoding: its workers, the run folder and the finished process."""
    folder = tmp_path_factory.mktemp("runs") / "slow"
    done = profiled(folder, *script(scenes, folder.with_name("model.pt"), request.param, SLEEP))
    return request.param, folder, done


def test_an_unchanged_script_is_profiled(slow: tuple[int, Path, subprocess.CompletedProcess[str]]) -> None:
    workers, folder, done = slow
    profile = read_profile(folder / "profile")
    assert len(profile.steps()) == 12
    assert profile.steps().samples.tolist() == [6] * 12
    assert set(profile.phases()) >= {"data", "forward", "loss", "backward", "optimizer"}
    assert [span.name for span in profile.all_spans].count("validation") == 2
    assert {"tree.cpu", "tree.memory", "cpu", "memory"} <= set(profile.gauges())
    assert (profile.machine.workers, profile.machine.reading) == (workers, "processes" if workers else "here")
    assert (folder / "report.html").is_file()
    assert not (folder / "profile" / "processes").exists()
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["accuracy", "accuracy"]
    assert "report   " in done.stderr


def test_slow_decoding_is_named(slow: tuple[int, Path, subprocess.CompletedProcess[str]]) -> None:
    _, folder, _ = slow
    result: dict[str, Any] = json_of("profile", folder)
    assert result["phases"]["data"]["share"] > 0.5
    profile = read_profile(folder / "profile")
    part_seconds = {part: profile.load(part).sum() for part in ("read", "decode", "augment", "collate")}
    assert part_seconds["decode"] > 0.7 * sum(part_seconds.values())
    assert part_seconds["decode"] > 0.7 * 72 * SLEEP
    assert all(seconds > 0 for seconds in part_seconds.values())
    hottest = json.loads((folder / "profile" / "hotlines.json").read_text())[0]
    assert hottest["where"].startswith("profiled_script.py:")
    assert hottest["where"].endswith(" decode")
    assert hottest["share"] > 0.5


@pytest.fixture(scope="module")
def plain(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Weights of the script without the profiler. They depend neither on time nor on the number of workers."""
    out = tmp_path_factory.mktemp("plain") / "model.pt"
    subprocess.run(script(scenes, out, 0, 0), check=True, capture_output=True)
    weights: dict[str, torch.Tensor] = torch.load(out, weights_only=True)
    return weights


def test_weights_are_equal_with_and_without(slow: tuple[int, Path, Any], plain: dict[str, torch.Tensor]) -> None:
    _, folder, _ = slow
    profiled_weights = torch.load(folder.with_name("model.pt"), weights_only=True)
    assert plain.keys() == profiled_weights.keys()
    assert all(torch.equal(plain[name], profiled_weights[name]) for name in plain)


def test_a_failing_script_keeps_its_exit_code_and_its_output(tmp_path: Path) -> None:
    done = profiled(
        tmp_path / "run", sys.executable, "-c", "import sys; print('so far'); sys.exit('and no further')", code=1
    )
    assert done.stdout == "so far\n"
    assert "and no further\n" in done.stderr
    assert "steps    none were measured" in done.stderr
    assert (tmp_path / "run" / "report.html").is_file()
