"""Idleness: the gauge samples at which the device was idle, for rules that look for the cause in another gauge.

With a GPU its own gauge tells. Without one the processor is the device, and it is never idle while it prepares images:
there the training thread is idle, which is when a step spends most of its time waiting for its batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clearsight.core.view import RunView
from clearsight.profiler.analysis.window import Window, gpu_gauges, sample_window, used_gpus, wait_shares

_MAINLY_WAITING = 0.5  # share of a step


@dataclass(frozen=True, slots=True)
class Idleness:
    """Samples during training with (T,) bool: True where the device was idle. description: how that was seen.

    gpus: gauges of the GPUs that were compared, () without a GPU.
    """

    samples: Window
    idle: npt.NDArray[np.bool_]
    description: str
    gpus: tuple[str, ...]


def device_idleness(view: RunView, gauge: str, *, gpu_below: float, patience: int | None) -> Idleness:
    """Return where the device was idle at the samples of `gauge`; no samples if either is unknown.

    gpu_below: per cent; the mean over the GPUs in use counts, because one busy GPU keeps the cores at work.
    """
    # All samples of the run, not the newest 500: a bottleneck is a share of the whole training time.
    profile, length = view.profile, max(len(view.profile.gauge_samples), 1)
    if gpu_gauges(profile):
        used = used_gpus(profile)
        samples = sample_window(view, (gauge, *used), length=length, patience=patience)
        subject = "the GPU was" if len(used) == 1 else "the GPUs were"
        return Idleness(samples, samples.mean(used) < gpu_below, f"{subject} below {gpu_below:.0f} %", used)
    samples = sample_window(view, (gauge,), length=length, patience=patience)
    share_of_step = dict(zip(profile.steps().steps.tolist(), wait_shares(profile).tolist(), strict=True))
    shares = np.array([share_of_step[step] for step in samples.steps.tolist()], np.float64)
    known = np.isfinite(shares)
    values = {gauge: samples.values[gauge][known]}
    timed = Window(samples.times[known], samples.steps[known], values, int(known.sum()), samples.required)
    description = "the step spent over half of its time waiting for its batch"
    return Idleness(timed, shares[known] > _MAINLY_WAITING, description, ())
