"""machine_info: what a process may use, which is often less than the machine has."""

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


def test_machine_of_this_process() -> None:
    info = machine_info(visible=[])
    assert info.cores == len(os.sched_getaffinity(0))
    assert 0 < info.memory_bytes <= psutil.virtual_memory().total
    assert info.launched == psutil.Process().create_time() <= time.time()
    assert (info.device, info.gpus, info.name) == ("cpu", 0, "")


def test_a_container_with_a_memory_limit(tmp_path: Path) -> None:
    """It has no /dev/shm either."""
    info = machine_info(visible=[], root=machine(tmp_path, available=12 * GIB, group=(8 * GIB, 0)))
    assert (info.memory_bytes, info.shm_bytes) == (8 * GIB, 0)


def test_visible_gpus_are_counted_and_named() -> None:
    library = two()
    info = machine_info(visible=["1"], nvml=library)
    assert (info.device, info.gpus, info.name) == ("cuda", 1, "Card 1")
    assert library.open == 0


def test_fields_that_only_the_training_knows_stay_unknown() -> None:
    info = machine_info(visible=[])
    assert (info.threads, info.workers, info.precision, info.channels_last) == (0, None, "", None)


def test_a_process_that_does_not_exist() -> None:
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    with pytest.raises(NotFound, match=f"process {child.pid}"):
        machine_info(child.pid)
