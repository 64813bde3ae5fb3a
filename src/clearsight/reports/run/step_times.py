"""Time of training steps: by phase, by epoch, and the steps that took much longer than the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from clearsight.core.format import count, rate, several
from clearsight.core.profile import Profile, StepTable
from clearsight.reports.charts.machine import duration_histogram, stacked_bars, stacked_columns, step_durations
from clearsight.reports.charts.series import ScalarSeries
from clearsight.reports.kit.format import UNKNOWN, percent
from clearsight.reports.kit.section import Panel, Table, table

Floats = npt.NDArray[np.float64]
_REST_SHARE = 0.002  # of the steps' time; a smaller remainder is inaccuracy of the clocks
_WARM_UP = 3  # first steps, which compile, allocate and fill caches
_OUTLIERS_LISTED = 10
_OUTLIERS_DRAWN = 200
_COLUMNS = 40  # of a chart by epoch; more epochs are grouped
_BINS = 40


@dataclass(frozen=True)
class StepPhases:
    """Timed steps without the first few of the run: `steps` (S,) and the seconds of each phase in each step, (S,) each.

    Time in no phase is under "rest". device: the same by the GPU's own clock, {} on a CPU.
    """

    steps: StepTable
    phases: Mapping[str, Floats]
    device: Mapping[str, Floats]

    @classmethod
    def of(cls, profile: Profile, rank: int = 0) -> StepPhases:
        """Return the steps and phases of a rank. A phase that a step did not have took no time in it."""
        table = profile.steps(rank)
        # A run of a handful of steps keeps its first ones, or nothing would be left to show.
        late = slice(_WARM_UP if len(table) > 5 * _WARM_UP else 0, None)
        phases = {name: np.nan_to_num(profile.phase(name, rank))[late] for name in profile.phases(rank)}
        steps = StepTable(*(getattr(table, field.name)[late] for field in fields(StepTable)))
        rest = np.maximum(steps.seconds - sum(phases.values(), np.zeros(len(steps))), 0)
        if phases and rest.sum() > _REST_SHARE * steps.seconds.sum():
            phases["rest"] = rest
        device = {name: np.nan_to_num(profile.phase(name, rank, device=True))[late] for name in phases}
        return cls(steps, phases, {name: values for name, values in device.items() if values.any()})

    @property
    def waiting(self) -> float | None:
        """Share of the steps' time spent waiting for data, in [0, 1]; None where that was not timed."""
        total = float(self.steps.seconds.sum())
        return float(self.phases["data"].sum()) / total if "data" in self.phases and total > 0 else None

    @property
    def images_per_second(self) -> float | None:
        """Images per second of training time; None where images were not counted."""
        total, images = float(self.steps.seconds.sum()), int(self.steps.samples.sum())
        return images / total if images and total > 0 else None


def step_panels(timed: StepPhases) -> list[Panel]:
    """Return the charts by phase, of durations, over steps, and by epoch; none without timed steps."""
    if not len(timed.steps):
        return []
    by_phase = [_by_phase(timed)] if timed.phases else []
    by_epoch = [_by_epoch(timed)] if timed.phases and len(np.unique(timed.steps.epochs)) > 1 else []
    return [*by_phase, _histogram(timed.steps), _over_steps(timed.steps), *by_epoch]


def parts_table(caption: str, unit: str, parts: Mapping[str, float], text: Callable[[float], str]) -> Table:
    """Return a row per part with its time and share, and the total."""
    total = sum(parts.values())
    rows = [(name, text(value), percent(value / total)) for name, value in parts.items()]
    return table(caption, ("part", unit, "share"), "lrr", [*rows, ("total", text(total), percent(1.0))])


def outlier_steps(seconds: Floats) -> npt.NDArray[np.int64]:
    """Return the indices of the steps that took longer than `outlier_bound`. seconds: of each step, (S,)."""
    return np.flatnonzero(seconds > outlier_bound(seconds)).astype(np.int64)


def outlier_bound(seconds: Floats) -> float:
    """Return the seconds above which a step is an outlier: 1.5 medians, or 3 robust deviations above the median.

    The larger of the two counts. The robust standard deviation is 1.4826 times the median absolute deviation, which
    outliers cannot stretch. The rule StepOutlier uses the same bound unless it is configured otherwise.
    """
    if not len(seconds):
        return 0.0
    median = float(np.median(seconds))
    return max(1.5 * median, median + 3 * 1.4826 * float(np.median(np.abs(seconds - median))))


def outlier_table(timed: StepPhases, profile: Profile, rank: int = 0) -> Table:
    """Return the longest outliers, with the phase that made them long and what happened at the same time."""
    steps, median = timed.steps, float(np.median(timed.steps.seconds)) if len(timed.steps) else 0.0
    rows = [
        (
            int(steps.steps[i]),
            int(steps.epochs[i]),
            f"{1000 * steps.seconds[i]:,.0f}",
            f"{steps.seconds[i] / median:.1f}",
            _longest_phase(timed, int(i)),
            _concurrent(timed, profile, int(i), rank),
        )
        for i in sorted(_longest_outliers(steps, _OUTLIERS_LISTED))
    ]
    columns = ("step", "epoch", "ms", "times the median", "phase with the largest excess", "at the same time")
    return table("Steps that took much longer", columns, "rrrrll", rows)


def _longest_outliers(steps: StepTable, most: int) -> npt.NDArray[np.int64]:
    outliers = outlier_steps(steps.seconds)
    return outliers[np.argsort(-steps.seconds[outliers], kind="stable")][:most]


def _by_phase(timed: StepPhases) -> Panel:
    means = {name: 1000 * float(values.mean()) for name, values in timed.phases.items()}
    device = {name: 1000 * float(values.mean()) for name, values in timed.device.items()}
    bars = {"training thread": means} | ({"GPU": device} if device else {})
    total = sum(means.values()) or 1.0
    rows = [[name, f"{ms:.2f}", percent(ms / total)] for name, ms in means.items()]
    rows.append(["whole step", f"{total:.2f}", percent(1.0)])
    columns = ["phase", "ms", "share of the step"]
    if device:
        columns.append("ms by the GPU's clock")
        times = [*(device.get(name) for name in means), sum(device.values())]
        rows = [[*row, UNKNOWN if ms is None else f"{ms:.2f}"] for row, ms in zip(rows, times, strict=True)]
    longest = max(means, key=lambda name: means[name])
    share = percent(means[longest] / total)
    note = f"Mean of {several(len(timed.steps), 'timed step')}"
    note += f", without the first {_WARM_UP} of the run." if timed.steps.steps[0] > 1 else "."
    return Panel(
        key="system-phases",
        title="A training step by phase",
        description=f"Phases of a step of {total:.1f} ms; the longest is {longest} with {share}.",
        figure=stacked_bars(bars, unit="ms"),
        table=table("Phases of a training step (mean)", columns, "lrr" + "r" * bool(device), rows),
        note=note,
        wide=True,
        unfolded=True,
    )


def _by_epoch(timed: StepPhases) -> Panel:
    epochs = timed.steps.epochs
    groups = np.array_split(np.unique(epochs), min(len(np.unique(epochs)), _COLUMNS))
    labels = [str(group[0]) if len(group) == 1 else f"{group[0]} to {group[-1]}" for group in groups]
    masks = [np.isin(epochs, group) for group in groups]
    parts = {name: [1000 * float(values[mask].mean()) for mask in masks] for name, values in timed.phases.items()}
    rows = []
    for label, mask in zip(labels, masks, strict=True):
        seconds, images = float(timed.steps.seconds[mask].sum()), int(timed.steps.samples[mask].sum())
        waiting = timed.phases["data"][mask].sum() / seconds if "data" in timed.phases and seconds else None
        images_per_second = rate(images / seconds) if images and seconds else UNKNOWN
        rows.append((label, f"{1000 * seconds / mask.sum():.1f}", percent(waiting), images_per_second))
    columns = ("epoch", "ms per step", "waiting for data", "images/s")
    return Panel(
        key="system-epochs",
        title="A training step by phase in each epoch",
        description=f"Mean milliseconds of each phase of a step, over {several(len(np.unique(epochs)), 'epoch')}.",
        figure=stacked_columns(labels, parts, unit="ms", axis="epoch"),
        table=table("Steps and waiting for data by epoch", columns, "lrrr", rows),
        wide=True,
    )


def _histogram(steps: StepTable) -> Panel:
    ms = 1000 * steps.seconds
    marks = {f"p{q}": float(np.percentile(ms, q)) for q in (50, 95, 99)}
    # The axis ends a little above the 95th percentile: a single long step would squeeze all bars into one.
    spread = max(marks["p95"] - float(np.percentile(ms, 5)), 0.02 * marks["p50"])
    end = min(float(ms.max()), marks["p95"] + 2 * spread)
    longer = int((ms > end).sum())
    counts, edges = np.histogram(np.minimum(ms, end), bins=min(_BINS, max(5, int(np.sqrt(len(ms)) * 2))))
    rows = [("min", ms.min()), *marks.items(), ("max", ms.max()), ("mean", ms.mean())]
    cut = f" The last bar holds {several(longer, 'step')} that took longer than {end:,.0f} ms." if longer else ""
    return Panel(
        key="system-durations",
        title="Duration of training steps",
        description=f"Half of the steps take up to {marks['p50']:.1f} ms, 95% up to {marks['p95']:.1f} ms.",
        figure=duration_histogram([float(edge) for edge in edges], [int(number) for number in counts], marks),
        table=table("Duration of a step in ms", ("", "ms"), "lr", [(name, f"{value:.1f}") for name, value in rows]),
        note=f"50%, 95% and 99% of the steps are shorter than p50, p95 and p99.{cut}",
    )


def _over_steps(steps: StepTable) -> Panel:
    series = ScalarSeries(steps.steps, 1000 * steps.seconds)
    visible = np.sort(_longest_outliers(steps, _OUTLIERS_DRAWN))
    medians = series.smoothed(24)
    rows = [(int(step), f"{value:.1f}") for step, value in zip(medians.steps, medians.values, strict=True)]
    number = len(outlier_steps(steps.seconds))
    share = f"{count(number)} of {several(len(steps), 'step')}"
    return Panel(
        key="system-steps",
        title="Training steps over time",
        description=f"Milliseconds of each step; {share} took much longer than the others.",
        figure=step_durations(series, ScalarSeries(steps.steps[visible], 1000 * steps.seconds[visible])),
        table=table("Duration of steps (running median)", ("step", "ms"), "rr", rows),
        note=f"{share} took longer than {1000 * outlier_bound(steps.seconds):,.0f} ms and are marked as outliers."
        if number
        else "No step is an outlier.",
    )


def _longest_phase(timed: StepPhases, index: int) -> str:
    excess = {name: float(values[index] - np.median(values)) for name, values in timed.phases.items()}
    if not excess:
        return UNKNOWN
    name = max(excess, key=lambda name: excess[name])
    return f"{name} (+{1000 * excess[name]:,.0f} ms)"


def _concurrent(timed: StepPhases, profile: Profile, index: int, rank: int) -> str:
    """Return what happened during a step, or between the end of the step before and its own start."""
    steps = timed.steps
    end = steps.starts[index] + steps.seconds[index]
    # A millisecond of tolerance between the end of a step and the start of a span.
    start = steps.starts[index - 1] + steps.seconds[index - 1] - 1e-3 if index else steps.starts[index]
    spans = [s.name for s in profile.all_spans if s.rank == rank and s.start < end and s.start + s.seconds > start]
    if index and steps.epochs[index] != steps.epochs[index - 1]:
        spans.append("first step of an epoch")
    return ", ".join(dict.fromkeys(spans))
