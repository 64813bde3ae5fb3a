"""ProfilingSession: a process that trains, and the loader workers that load for it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from clearsight.core.profile import Machine
from clearsight.core.profile_folder import read_profile
from clearsight.profiler.external.collect import collect_hot_lines
from clearsight.profiler.external.session import ProfilingSession
from clearsight.profiler.timing.step_log import StepLog
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


def profiled(folder: Path, loop: Loop, epochs: int = 2) -> tuple[StepTimer, list[Machine]]:
    machines: list[Machine] = []
    spans = folder / "spans.jsonl"
    session = ProfilingSession(folder, spans, Machine(cores=2), machines.append)
    timer = StepTimer(StepLog(spans), loads=session.loads)
    session.start(lambda: timer)
    for _ in range(epochs):
        loop.train()
        loop.evaluate()
    session.close(finalisation=True)
    timer.close()
    assert session.failure == ""
    assert session.steps == len(timer.log.steps)
    return timer, machines


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_is_timed_in_the_training_thread_and_in_workers(tmp_path: Path, workers: int) -> None:
    loop = Loop()
    loop.loader = DataLoader(
        Slow(), batch_size=2, num_workers=workers, multiprocessing_context="fork" if workers else None
    )
    _, machines = profiled(tmp_path, loop)
    profile = read_profile(tmp_path)
    assert len(profile.steps()) == 8
    assert profile.load("decode").sum() >= 0.7 * 16 * 0.005  # workers begin to load before the first step
    assert profile.load("decode").sum() > 3 * profile.load("collate").sum()
    assert 14 <= profile.load("images").sum() <= 16 + 8  # workers load ahead, for the evaluation too
    assert [span.name for span in profile.all_spans if span.name != "initialisation"] == [
        *("validation", "validation", "finalisation")
    ]
    assert (machines[-1].workers, machines[-1].reading) == (workers, "processes" if workers else "here")
    assert machines[-1].batch_size == 2
    collect_hot_lines(tmp_path)
    assert not (tmp_path / "processes").exists()
    assert "decode" in (tmp_path / "hotlines.json").read_text()


def test_loading_for_evaluations_belongs_to_no_step(tmp_path: Path) -> None:
    timer, _ = profiled(tmp_path, Loop(), epochs=3)
    assert [step.load["images"] for step in timer.log.steps] == [2.0] * 18


def test_a_folder_that_cannot_be_written_does_not_disturb_the_loop(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "profile"
    session = ProfilingSession(folder, folder / "spans.jsonl", Machine(), lambda machine: None)
    loop, plain = Loop(), Loop()
    session.start(lambda: StepTimer(loads=session.loads))
    loop.train()
    loop.evaluate()
    session.close()
    plain.train()
    assert all(map(torch.equal, loop.model.parameters(), plain.model.parameters()))
    assert "NotADirectoryError" in session.failure
