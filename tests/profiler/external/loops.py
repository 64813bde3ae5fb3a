"""Small training loops, listened to with a step clock that writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from clearsight.core.profile import Span
from clearsight.profiler.external import torch_hooks as torch_events
from clearsight.profiler.external.hot_lines import HotLines
from clearsight.profiler.external.load_timer import LoadTimer
from clearsight.profiler.external.loop_tracker import LoopTracker
from clearsight.profiler.external.patches import Patches
from clearsight.profiler.external.shared_counters import SharedCounters
from clearsight.profiler.timing.step_timer import StepTimer


class Listening:
    """What was seen of a loop: the clock's steps, and spans outside of them."""

    def __init__(self, folder: Path) -> None:
        self.reader = LoadTimer(SharedCounters(lambda: folder / "sums"), HotLines(folder / "lines.jsonl"))
        self.clock, self.spans = StepTimer(None, loads=self.reader.sums), list[Span]()
        self.course = LoopTracker(lambda: self.clock, self.spans.append)
        self.patches = Patches()

    def phases(self) -> list[set[str]]:
        """The phases of each step, without the clock's own look at images."""
        return [set(step.phases) - {"hook"} for step in self.clock.steps]

    def names(self) -> list[str]:
        """The spans, in order."""
        return [span.name for span in self.spans]


@contextmanager
def listening(folder: Path) -> Iterator[Listening]:
    """Listen within the block."""
    seen = Listening(folder)
    torch_events.listen(seen.course, seen.reader, seen.patches)
    try:
        yield seen
    finally:
        seen.patches.undo()
        seen.course.close()
        seen.reader.close()
    assert seen.course.failure == seen.reader.failure == seen.clock.failure == ""


class Loop:
    """A small network, its optimizer and six batches of two images."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2))
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.loader = DataLoader(TensorDataset(torch.rand(12, 3, 2, 2), torch.arange(12) % 2), batch_size=2)

    def loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Of one batch."""
        loss: torch.Tensor = self.criterion(self.model(images), labels)
        return loss

    def train(self) -> None:
        """An epoch as they are written."""
        self.model.train()
        for images, labels in self.loader:
            self.optimizer.zero_grad()
            self.loss(images, labels).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()

    def evaluate(self) -> None:
        """The way it is meant."""
        self.model.eval()
        with torch.no_grad():
            for images, labels in self.loader:
                self.loss(images, labels)
