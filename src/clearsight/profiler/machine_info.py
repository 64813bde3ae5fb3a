"""Surroundings: what a process has to work with, as far as the machine can tell."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from clearsight.core.errors import NotFound
from clearsight.core.profile import Machine
from clearsight.profiler.gauges.cores import allowed_cores
from clearsight.profiler.gauges.gpu import GpuGauges
from clearsight.profiler.gauges.memory import meminfo, tighter
from clearsight.profiler.gauges.memory_limit import memory_limit


def machine_info(
    pid: int | None = None, visible: Sequence[str] | None = None, *, root: Path = Path("/"), nvml: Any = None
) -> Machine:
    """Cores, memory, shared memory, GPUs and the start of a process (None: this one); the rest is left as not known.

    visible: the entries of CUDA_VISIBLE_DEVICES, None where not set.  nvml: as for `Gpus`.
    device: "cuda" where a GPU is visible, whether or not the process uses it.  Raises NotFound without such a process.
    """
    try:
        cores, launched = len(allowed_cores(pid)), psutil.Process(pid).create_time()
    except (ProcessLookupError, psutil.NoSuchProcess):
        raise NotFound(f"process {pid}", "there is no process of that number") from None
    total = meminfo((root / "proc/meminfo").read_text(encoding="ascii"))["MemTotal"]
    limit = tighter(memory_limit(pid, root=root), total)
    models = _models(visible, nvml)
    return Machine(
        cores=cores,
        memory_bytes=limit.bytes if limit else total,
        shm_bytes=_size(root / "dev/shm"),
        gpus=len(models),
        device="cuda" if models else "cpu",
        name=models[0] if models else "",
        launched=launched,
    )


def _size(folder: Path) -> int:
    """Bytes of the file system at a folder; 0 where there is none."""
    if not folder.is_dir():
        return 0
    told = os.statvfs(folder)
    return told.f_blocks * told.f_frsize


def _models(visible: Sequence[str] | None, nvml: Any) -> list[str]:
    try:
        gpus = GpuGauges(visible, nvml=nvml)
    except Exception:  # whatever the reason, without the library nothing is known of GPUs
        return []
    try:
        return gpus.models
    finally:
        gpus.close()
