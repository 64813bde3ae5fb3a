"""Gauges: looks at the machine, off the training thread, one source of numbers per file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from clearsight.profiler.gauges.cpu import CpuGauges
from clearsight.profiler.gauges.disk import DiskGauges
from clearsight.profiler.gauges.gpu import GpuGauges
from clearsight.profiler.gauges.memory import MemoryGauges
from clearsight.profiler.gauges.network import NetworkGauges
from clearsight.profiler.gauges.process_tree import ProcessTreeGauges
from clearsight.profiler.gauges.source import GaugeSource

_log = logging.getLogger(__name__)


def sources(pid: int | None = None, visible: Sequence[str] | None = None) -> list[GaugeSource]:
    """Every source that this machine has; the others are left out.

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
    return [source for make in makers if (source := _made(make)) is not None]


def _made(make: Callable[[], GaugeSource]) -> GaugeSource | None:
    try:
        return make()
    except Exception as error:  # a machine without it is no fault of the user's
        _log.debug("left out of the gauges: %s", error)
        return None
