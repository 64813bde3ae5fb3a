"""Loading of data: the time that one image takes, whether loader workers keep up, and room for larger batches."""

from __future__ import annotations

import numpy as np

from clearsight.core.format import rate, several, speed
from clearsight.core.profile import LOAD_PARTS, Profile
from clearsight.reports.charts.gauges import GIB, MIB, format_reading, gauge_label
from clearsight.reports.charts.machine import stacked_bars
from clearsight.reports.kit.format import percent
from clearsight.reports.kit.section import Panel
from clearsight.reports.run.step_times import StepPhases, parts_table

_GPUS_DESCRIBED = 4  # a sentence each; the charts show all


def image_parts(profile: Profile, rank: int = 0) -> dict[str, float]:
    """Return the milliseconds that a loader worker spends on one image, by part; {} where images were not counted."""
    images = float(np.nansum(profile.load("images", rank)))
    if not images:
        return {}
    # Times of all workers together over all their images: the number of workers does not matter.
    milliseconds = {part: 1000 * float(np.nansum(profile.load(part, rank))) / images for part in LOAD_PARTS}
    return {part: ms for part, ms in milliseconds.items() if ms > 0}


def loading_panels(profile: Profile, rank: int = 0) -> list[Panel]:
    """Return the chart of the time for one image by part; none where images were not counted."""
    parts = image_parts(profile, rank)
    if not parts:
        return []
    total = sum(parts.values())
    longest = max(parts, key=lambda part: parts[part])
    return [
        Panel(
            key="system-loading",
            title="Time to load one image by part",
            description=f"A loader worker takes {total:.2f} ms for one image; the longest part is {longest}.",
            figure=stacked_bars({"one image": parts}, unit="ms"),
            table=parts_table("Time to load one image", "ms", parts, "{:.2f}".format),
            wide=True,
            unfolded=True,
        )
    ]


def loading_sentences(profile: Profile, timed: StepPhases, rank: int = 0) -> list[str]:
    """Return who loads the data, how fast that could be, how fast training is, and how long it waited."""
    sentences = [*_workers(profile), *_capacity(profile, timed, rank)]
    if timed.waiting is not None:
        sentences.append(f"Training waited for data during {percent(timed.waiting)} of the time of its steps.")
    bytes_read, images = (float(np.nansum(profile.load(part, rank))) for part in ("bytes", "images"))
    if bytes_read and images:
        sentences.append(f"Loading an image reads {format_reading(bytes_read / images / 1024, 'KiB')}.")
    # NaN where the padding was not measured; sampled steps are enough for a mean.
    if np.isfinite(padding := profile.steps(rank).padding).any():
        share = percent(float(np.nanmean(padding[padding >= 0])))
        sentences.append(f"Padding of a single colour fills {share} of the input pixels.")
    return sentences


def batch_sentences(profile: Profile, timed: StepPhases, rank: int = 0) -> list[str]:
    """Return how busy the devices were and how full their memory was with batches of this size."""
    machine, titles = profile.machine, {"tree.cpu": "This job kept its cores", "cpu": "The cores were"}
    sentences = []
    for name in profile.devices(rank)[:_GPUS_DESCRIBED]:
        busy = profile.within(profile.gauge(name, rank), rank).values
        if not len(busy):
            continue
        high = np.percentile(busy, 95)
        device = titles.get(name, f"{gauge_label(name).title} was")
        use = f"{device} busy {busy.mean():.0f}% on average ({high:.0f}% at the 95th percentile)"
        sentences.append(f"{use}{_memory(profile, name, rank)}.")
    # The median, because the last batch of an epoch is smaller.
    batch_size = machine.batch_size or (int(np.median(timed.steps.samples)) if len(timed.steps) else 0)
    if not sentences or not batch_size:
        return sentences
    size = f" ({machine.batch_bytes / MIB:.1f} MiB)" if machine.batch_bytes else ""
    return [f"A batch has {several(batch_size, 'image')}{size}.", *sentences]


def _workers(profile: Profile) -> list[str]:
    machine = profile.machine
    if machine.workers is None:
        return []
    if not machine.workers or machine.reading == "here":
        return ["The training thread loads the batches itself, so none is prepared ahead."]
    kind = {"threads": "loader thread", "processes": "loader process"}.get(machine.reading, "loader worker")
    cores = f" on {several(machine.cores, 'core')}" if machine.cores else ""
    verb = "prepares" if machine.workers == 1 else "prepare"
    return [f"{several(machine.workers, kind)} {verb} the batches{cores}."]


def _capacity(profile: Profile, timed: StepPhases, rank: int) -> list[str]:
    milliseconds, workers = sum(image_parts(profile, rank).values()), max(profile.machine.workers or 1, 1)
    if not milliseconds or timed.images_per_second is None:
        return []
    # More workers than cores do not load faster: decoding uses a whole core each.
    busy = min(workers, profile.machine.cores or workers)
    return [
        f"A loader worker takes {milliseconds:.2f} ms for an image, so together they can load about "
        f"{speed(1000 * busy / milliseconds)}; training took {rate(timed.images_per_second)}."
    ]


def _memory(profile: Profile, name: str, rank: int) -> str:
    gauge = f"{name}.memory_bytes" if name.startswith("gpu") else "tree.memory"
    used = profile.within(profile.gauge(gauge, rank), rank).values
    if not len(used):
        return ""
    text = f", with at most {format_reading(float(used.max()) / GIB, 'GiB')}"
    share = profile.within(profile.gauge(f"{name}.memory", rank), rank).values
    if len(share):
        return f"{text} of memory in use ({share.max():.0f}% of the device)"
    if profile.machine.memory_bytes and not name.startswith("gpu"):
        return f"{text} of {profile.machine.memory_bytes / GIB:.0f} GiB of memory in use"
    return f"{text} of memory in use"
