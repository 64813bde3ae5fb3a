"""Gauges of the machine, read off the training thread; one source per module."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from clearsight.core.guard import Guard
from clearsight.profiler.gauges.cpu import CpuGauges
from clearsight.profiler.gauges.disk import DiskGauges
from clearsight.profiler.gauges.gpu import GpuGauges
from clearsight.profiler.gauges.memory import MemoryGauges
from clearsight.profiler.gauges.network import NetworkGauges
from clearsight.profiler.gauges.process_tree import ProcessTreeGauges
from clearsight.profiler.gauges.source import GaugeSource

_log = logging.getLogger(__name__)


def sources(pid: int | None = None, visible: Sequence[str] | None = None) -> list[GaugeSource]:
    """Return every source that this machine has. The others are left out.

    pid: the process that trains, None for this one.  visible: the entries of CUDA_VISIBLE_DEVICES, None where not set.
    """
    makers: tuple[Callable[[], GaugeSource], ...] = (
        lambda: CpuGauges(pid),
        lambda: ProcessTreeGauges(pid),
        lambda: MemoryGauges(pid),
        DiskGauges,
        NetworkGauges,
        lambda: GpuGauges(visible),
    )
    # A missing driver, file or library is normal, whatever it raises: no warning, only a line for debugging.
    return [source for make in makers if (source := Guard("a gauge source", report=_log.debug).run(make)) is not None]
