"""Small training loops, tracked with a step timer that writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from clearsight.core.profile import Span
from clearsight.profiler.external import torch_hooks
from clearsight.profiler.external.hot_lines import HotLines
from clearsight.profiler.external.load_timer import LoadTimer, SharedCounters
from clearsight.profiler.external.loop_state import LoopRecorder
from clearsight.profiler.external.loop_tracker import LoopTracker
from clearsight.profiler.external.patches import Patches
from clearsight.profiler.timing.step_timer import StepTimer


class TrackedLoop:
    """Steps of a loop as timed, and the spans outside of them."""

    def __init__(self, folder: Path) -> None:
        self.load_timer = LoadTimer(SharedCounters(lambda: folder / "sums"), HotLines(folder / "lines.jsonl"))
        self.timer, self.spans = StepTimer(loads=self.load_timer.sums), list[Span]()
        self.tracker = LoopTracker(LoopRecorder(lambda: self.timer, self.spans.append))
        self.patches = Patches()

    def phases(self) -> list[set[str]]:
        """Return the phases of each step, without the timer's own measuring of images."""
        return [set(step.phases) - {"hook"} for step in self.timer.log.steps]

    def names(self) -> list[str]:
        """Return the names of the spans, in order."""
        return [span.name for span in self.spans]


@contextmanager
def listening(folder: Path) -> Iterator[TrackedLoop]:
    """Track the loops within the block."""
    seen = TrackedLoop(folder)
    torch_hooks.listen(seen.tracker, seen.load_timer, seen.patches)
    try:
        yield seen
    finally:
        seen.patches.undo()
        seen.tracker.close()
        seen.load_timer.close()
    assert seen.timer.failure == seen.tracker.guard.reason == seen.load_timer.guard.reason == ""


class Loop:
    """A small network, its optimizer and six batches of two images."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2))
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.loader = DataLoader(TensorDataset(torch.rand(12, 3, 2, 2), torch.arange(12) % 2), batch_size=2)

    def loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch."""
        loss: torch.Tensor = self.criterion(self.model(images), labels)
        return loss

    def train(self) -> None:
        """Train an epoch as most loops do."""
        self.model.train()
        for images, labels in self.loader:
            self.optimizer.zero_grad()
            self.loss(images, labels).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()

    def evaluate(self) -> None:
        """Evaluate in evaluation mode and without gradients."""
        self.model.eval()
        with torch.no_grad():
            for images, labels in self.loader:
                self.loss(images, labels)
