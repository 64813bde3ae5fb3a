"""The loop reports its phases to a stopwatch, and the weights are the same with and without one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from clearsight.core.profile import PHASES, SPAN_NAMES
from clearsight.training.loop import train
from clearsight.training.protocols import NullStopwatch, Stopwatch
from tests.training.test_loop import job, network


class EventList:
    """Stopwatch that collects its calls, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []
        self.inside: list[str] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        assert name in PHASES
        self.events.append(("phase", name))
        self.inside.append(name)
        yield
        assert self.inside.pop() == name

    @contextmanager
    def span(self, name: str, step: int, epoch: int) -> Iterator[None]:
        assert name in SPAN_NAMES
        assert not self.inside
        self.events.append(("span", name, str(step), str(epoch)))
        yield

    def note_images(self, images: npt.NDArray[np.uint8]) -> None:
        self.events.append(("images",))

    def step(self, step: int, epoch: int, samples: int) -> None:
        assert not self.inside
        self.events.append(("step", str(step), str(epoch), str(samples)))

    def cut(self) -> None:
        self.events.append(("cut",))


def trained(folder: Path, stopwatch: Stopwatch, epochs: int) -> torch.Tensor:
    """Train a small network; its weights."""
    net = network()
    train(replace(job(net, folder, epochs=epochs), stopwatch=stopwatch))
    return torch.cat([tensor.flatten().double() for tensor in net.state_dict().values()])


def test_a_step_goes_through_every_phase_in_order(tmp_path: Path) -> None:
    stopwatch_events = EventList()
    trained(tmp_path, stopwatch_events, 1)
    first = stopwatch_events.events[: stopwatch_events.events.index(("step", "1", "1", "8"))]
    phases = [event[1] for event in first if event[0] == "phase"]
    assert list(dict.fromkeys(phase for phase in phases if phase != "hook")) == [
        *("data", "forward", "loss", "backward", "optimizer")
    ]
    assert phases.count("hook") == 3


def test_every_step_validation_and_checkpoint_is_reported(tmp_path: Path) -> None:
    stopwatch_events = EventList()
    trained(tmp_path, stopwatch_events, 2)
    kinds = Counter(event[:2] if event[0] == "span" else event[0] for event in stopwatch_events.events)
    assert kinds["step"] == 2 * 5
    assert kinds["cut"] == 2
    assert kinds["span", "validation"] == 2
    assert kinds["span", "checkpoint"] >= 1


def test_weights_are_the_same_with_and_without(tmp_path: Path) -> None:
    assert torch.equal(trained(tmp_path / "with", EventList(), 2), trained(tmp_path / "without", NullStopwatch(), 2))


def test_the_null_stopwatch_does_nothing() -> None:
    null = NullStopwatch()
    with null.phase("data"), null.span("validation", 1, 1):
        null.step(1, 1, 8)
        null.cut()
