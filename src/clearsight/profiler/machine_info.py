"""Machine information: the cores, memory and GPUs that a process may use."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from clearsight.core.errors import NotFound
from clearsight.core.guard import Guard
from clearsight.core.profile import Machine
from clearsight.profiler.gauges.cpu import allowed_cores
from clearsight.profiler.gauges.gpu import GpuGauges
from clearsight.profiler.gauges.memory import memory_size


def machine_info(
    pid: int | None = None, visible: Sequence[str] | None = None, *, root: Path = Path("/"), nvml: Any = None
) -> Machine:
    """Return the cores, memory, shared memory, GPUs and start time of a process (None: this one).

    The other fields stay unknown. `device` is "cuda" where a GPU is visible, whether or not the process uses it.
    visible: the entries of CUDA_VISIBLE_DEVICES, None where not set.  nvml: as for `GpuGauges`.
    Raises NotFound where there is no such process.
    """
    try:
        cores, launched = len(allowed_cores(pid)), psutil.Process(pid).create_time()
    except (ProcessLookupError, psutil.NoSuchProcess):
        raise NotFound(f"process {pid}", "no process has this number") from None
    models, shm = _gpu_models(visible, nvml), root / "dev/shm"
    return Machine(
        cores=cores,
        memory_bytes=memory_size(pid, root=root)[0],  # in a container its limit, whatever the host has
        shm_bytes=shutil.disk_usage(shm).total if shm.is_dir() else 0,
        gpus=len(models),
        device="cuda" if models else "cpu",
        name=models[0] if models else "",
        launched=launched,
    )


def _gpu_models(visible: Sequence[str] | None, nvml: Any) -> list[str]:
    # A machine without a driver is normal, whatever NVML raises then: no warning, only a line for debugging.
    gpus = Guard("NVML", report=logging.getLogger(__name__).debug).run(lambda: GpuGauges(visible, nvml=nvml))
    if gpus is None:
        return []
    with closing(gpus):
        return gpus.models
