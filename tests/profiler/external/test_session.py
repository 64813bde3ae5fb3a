"""Following: a process that trains, and the processes that read for it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from clearsight.core.profile import Machine
from clearsight.core.profile_folder import read_profile
from clearsight.profiler.external.collect import tidy
from clearsight.profiler.external.session import ProfilingSession
from clearsight.profiler.timing.step_timer import StepTimer
from tests.profiler.external.loops import Loop


class Slow(Dataset[tuple[torch.Tensor, int]]):
    """Eight images that take 5 ms each to decode."""

    def __len__(self) -> int:
        return 8

    def decode_image(self) -> torch.Tensor:
        time.sleep(0.005)
        return torch.rand(3, 2, 2)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.decode_image(), index % 2


def follow(folder: Path, loop: Loop, epochs: int = 2) -> tuple[StepTimer, list[Machine]]:
    told: list[Machine] = []
    spans = folder / "spans.jsonl"
    following = ProfilingSession(folder, spans, Machine(cores=2), told.append)
    clock = StepTimer(spans, loads=following.loads)
    following.start(lambda: clock)
    for _ in range(epochs):
        loop.train()
        loop.evaluate()
    following.close(finalisation=True)
    clock.close()
    assert following.failure == ""
    assert following.steps == len(clock.steps)
    return clock, told


@pytest.mark.parametrize("workers", [0, 2])
def test_the_readers_time_is_told_wherever_they_are(tmp_path: Path, workers: int) -> None:
    loop = Loop()
    loop.loader = DataLoader(
        Slow(), batch_size=2, num_workers=workers, multiprocessing_context="fork" if workers else None
    )
    _, told = follow(tmp_path, loop)
    profile = read_profile(tmp_path)
    assert len(profile.steps()) == 8
    assert profile.load("decode").sum() >= 0.7 * 16 * 0.005  # processes begin to read before the first step does
    assert profile.load("decode").sum() > 3 * profile.load("collate").sum()
    assert 14 <= profile.load("images").sum() <= 16 + 8  # workers read ahead, of the evaluation too
    assert [span.name for span in profile.stretches if span.name != "initialisation"] == [
        *("validation", "validation", "finalisation")
    ]
    assert (told[-1].workers, told[-1].reading) == (workers, "processes" if workers else "here")
    assert told[-1].batch_size == 2
    tidy(tmp_path)
    assert not (tmp_path / "processes").exists()
    assert "decode" in (tmp_path / "hotlines.json").read_text()


def test_what_is_read_for_evaluations_is_no_steps_load(tmp_path: Path) -> None:
    clock, _ = follow(tmp_path, Loop(), epochs=3)
    assert [step.load["images"] for step in clock.steps] == [2.0] * 18


def test_a_folder_that_cannot_be_written_leaves_the_loop_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "profile"
    following = ProfilingSession(folder, folder / "spans.jsonl", Machine(), lambda machine: None)
    loop, plain = Loop(), Loop()
    following.start(lambda: StepTimer(None, loads=following.loads))
    loop.train()
    loop.evaluate()
    following.close()
    plain.train()
    assert all(map(torch.equal, loop.model.parameters(), plain.model.parameters()))
    assert "NotADirectoryError" in following.failure
