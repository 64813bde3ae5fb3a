"""Freed memory stays in the process within the block and is returned after it; results do not change."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import psutil
import pytest
import torch

from clearsight.training import allocator
from clearsight.training.allocator import keep_freed_memory
from clearsight.training.loop import train
from tests.training.test_loop import job, network

ELEMENTS = 16 << 20  # 64 MiB, more than glibc keeps of its own accord


def faults(rounds: int = 8) -> int:
    """Pages that the system had to hand out while a large tensor was made and dropped so many times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.empty(ELEMENTS).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has these settings")
def test_a_tensor_reuses_the_memory_of_the_one_before() -> None:
    usual = faults()
    with keep_freed_memory() as keeps:
        if not keeps:
            pytest.skip("the C library is not glibc")
        faults(24)  # it settles on a few places
        assert faults() < usual / 4
        held = psutil.Process().memory_info().rss
    assert psutil.Process().memory_info().rss < held - 2 * ELEMENTS, "half of a tensor at the least has gone back"


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_glibc", lambda: None)
    with keep_freed_memory() as keeps:
        assert not keeps


def test_the_weights_are_the_same(tmp_path: Path) -> None:
    states = []
    for name in ("kept", "usual"):
        net = network()
        with keep_freed_memory() if name == "kept" else torch.enable_grad():
            train(job(net, tmp_path / name, epochs=1))
        states.append(torch.cat([tensor.flatten().double() for tensor in net.state_dict().values()]))
    assert torch.equal(*states)
