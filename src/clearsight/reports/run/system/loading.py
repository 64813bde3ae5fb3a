"""The making of batches: what an image costs its readers, whether they keep up, and what the batch size leaves."""

from __future__ import annotations

import numpy as np

from clearsight.core.profile import LOAD_PARTS, Profile
from clearsight.reports.charts.gauge_labels import GIB, MIB, gauge_label, reading
from clearsight.reports.charts.machine import stacked_bars
from clearsight.reports.kit.format import percent, several
from clearsight.reports.kit.section import Panel, table
from clearsight.reports.run.system.step_times import StepPhases


def parts_of_a_image(profile: Profile, rank: int = 0) -> dict[str, float]:
    """Milliseconds that a reader spends on one image, by part; {} where nobody counted."""
    images = float(np.nansum(profile.load("images", rank)))
    if not images:
        return {}
    spent = {part: 1000 * float(np.nansum(profile.load(part, rank))) / images for part in LOAD_PARTS}
    return {part: ms for part, ms in spent.items() if ms > 0}


def loading_panels(profile: Profile, rank: int = 0) -> list[Panel]:
    """What making an image takes, by part."""
    parts = parts_of_a_image(profile, rank)
    if not parts:
        return []
    total = sum(parts.values())
    rows = [(part, f"{ms:.2f}", percent(ms / total)) for part, ms in parts.items()]
    most = max(parts, key=lambda part: parts[part])
    return [
        Panel(
            key="system-loading",
            title="Making one image by part",
            says=f"{total:.2f} ms of a reader's time for one image; most of it is {most}.",
            figure=stacked_bars({"one image": parts}, unit="ms"),
            table=table(
                "Making one image", ("part", "ms", "share"), "lrr", [*rows, ("in all", f"{total:.2f}", percent(1.0))]
            ),
            wide=True,
            unfolded=True,
        )
    ]


def loading_sentences(profile: Profile, timed: StepPhases, rank: int = 0) -> list[str]:
    """Who reads, how fast they could, how fast training takes, and how long it waited."""
    told = [*_readers(profile), *_capacity(profile, timed, rank)]
    if timed.waiting is not None:
        told.append(f"Training waited for data {percent(timed.waiting)} of its steps' time.")
    size = float(np.nansum(profile.load("bytes", rank))), float(np.nansum(profile.load("images", rank)))
    if all(size):
        told.append(f"An image took {reading(size[0] / size[1] / 1024, 'KiB')} of reading.")
    if np.isfinite(padding := profile.steps(rank).padding).any():
        told.append(f"Borders of one colour fill {percent(float(np.nanmean(padding[padding >= 0])))} of the input.")
    return told


def batch_sentences(profile: Profile, timed: StepPhases, rank: int = 0) -> list[str]:
    """How busy the devices and how full their memory were with batches of this size."""
    machine, size = profile.machine, _batch_size(profile, timed)
    told = []
    for name in profile.devices(rank)[:4]:
        busy = profile.within(profile.gauge(name, rank), rank).values
        if not len(busy):
            continue
        sentence = f"{_device(name)} busy {busy.mean():.0f}% on average, {np.percentile(busy, 95):.0f}% at its p95"
        told.append(f"{sentence}{_memory(profile, name, rank)}.")
    if not told or not size:
        return told
    crossing = f", {machine.batch_bytes / MIB:.1f} MiB each" if machine.batch_bytes else ""
    return [f"With batches of {several(size, 'image')}{crossing}:", *told]


def _readers(profile: Profile) -> list[str]:
    machine = profile.machine
    if machine.workers is None:
        return []
    if not machine.workers or machine.reading == "here":
        return ["The training thread itself makes the batches, so nothing is made ahead."]
    kind = {"threads": "reader thread", "processes": "reader process"}.get(machine.reading, "reader")
    on = f" on {several(machine.cores, 'core')}" if machine.cores else ""
    make = "makes" if machine.workers == 1 else "make"
    return [f"{several(machine.workers, kind)} {make} the batches{on}."]


def _capacity(profile: Profile, timed: StepPhases, rank: int) -> list[str]:
    cost, hands = sum(parts_of_a_image(profile, rank).values()), max(profile.machine.workers or 1, 1)
    if not cost or timed.rate is None:
        return []
    hands = min(hands, profile.machine.cores or hands)
    return [
        f"An image takes a reader {cost:.2f} ms, so they can make about {1000 * hands / cost:,.0f} images per "
        f"second; training took {timed.rate:,.0f}."
    ]


def _batch_size(profile: Profile, timed: StepPhases) -> int:
    if profile.machine.batch_size:
        return profile.machine.batch_size
    return int(np.median(timed.steps.samples)) if len(timed.steps) else 0


def _device(name: str) -> str:
    return {"tree.cpu": "this job kept its cores", "cpu": "the cores were"}.get(name, f"{gauge_label(name).called} was")


def _memory(profile: Profile, name: str, rank: int) -> str:
    own = f"{name}.memory_bytes" if name.startswith("gpu") else "tree.memory"
    held = profile.within(profile.gauge(own, rank), rank).values
    if not len(held):
        return ""
    whole = (
        ""
        if name.startswith("gpu") or not profile.machine.memory_bytes
        else (f" of {profile.machine.memory_bytes / GIB:.0f} GiB")
    )
    share = profile.within(profile.gauge(f"{name}.memory", rank), rank).values
    of = f" ({share.max():.0f}% of the device)" if len(share) else whole
    return f", with at most {reading(float(held.max()) / GIB, 'GiB')} of memory in use{of}"
