"""Surroundings: what a process may use, which is often less than the machine has."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from clearsight.core.errors import NotFound
from clearsight.profiler.machine_info import machine_info
from tests.profiler.gauges.test_gpu import two
from tests.profiler.gauges.test_memory import GIB, machine


def test_of_this_process() -> None:
    told = machine_info(visible=[])
    assert told.cores == len(os.sched_getaffinity(0))
    assert 0 < told.memory_bytes <= psutil.virtual_memory().total
    assert told.launched == psutil.Process().create_time() <= time.time()
    assert (told.device, told.gpus, told.name) == ("cpu", 0, "")


def test_in_a_container(tmp_path: Path) -> None:
    """A group with a limit, and no /dev/shm at all."""
    told = machine_info(visible=[], root=machine(tmp_path, available=12 * GIB, group=(8 * GIB, 0)))
    assert (told.memory_bytes, told.shm_bytes) == (8 * GIB, 0)


def test_with_gpus() -> None:
    library = two()
    told = machine_info(visible=["1"], nvml=library)
    assert (told.device, told.gpus, told.name) == ("cuda", 1, "Card 1")
    assert library.open == 0


def test_what_only_the_training_knows_is_left_open() -> None:
    told = machine_info(visible=[])
    assert (told.threads, told.workers, told.precision, told.channels_last) == (0, None, "", None)


def test_a_process_that_is_not_there() -> None:
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    with pytest.raises(NotFound, match=f"process {child.pid}"):
        machine_info(child.pid)
