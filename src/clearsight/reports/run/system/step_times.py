"""Where a training step's time goes: by phase, by epoch, and the steps that took much longer than the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clearsight.core.profile import Profile, StepTable
from clearsight.reports.charts.machine import duration_histogram, stacked_bars, stacked_columns, step_durations
from clearsight.reports.charts.series import ScalarSeries
from clearsight.reports.kit.format import UNKNOWN, count, percent, several
from clearsight.reports.kit.section import Panel, Table, table

Floats = npt.NDArray[np.float64]
REST = "rest"
_WARM_UP = 3  # first steps, which compile, allocate and fill caches
_OUTLIERS = 10
_COLUMNS = 40
_BINS = 40


@dataclass(frozen=True)
class StepPhases:
    """Timed steps without the first few of the run: `steps` (S,) and seconds of each phase in each step, (S,) each.

    What is in no phase is under "rest". device: the same by the GPU's own clock, {} on a CPU.
    """

    steps: StepTable
    phases: Mapping[str, Floats]
    device: Mapping[str, Floats]

    @classmethod
    def of(cls, profile: Profile, rank: int = 0) -> StepPhases:
        """Steps and phases of a rank. A phase that a step did not have took it no time."""
        table = profile.steps(rank)
        late = slice(_WARM_UP if len(table) > 5 * _WARM_UP else 0, None)
        phases = {name: np.nan_to_num(profile.phase(name, rank))[late] for name in profile.phases(rank)}
        kept = StepTable(*(getattr(table, name)[late] for name in StepTable.__dataclass_fields__))
        rest = np.maximum(kept.seconds - sum(phases.values(), np.zeros(len(kept))), 0)
        if phases and rest.sum() > 0.002 * kept.seconds.sum():
            phases[REST] = rest
        device = {name: np.nan_to_num(profile.phase(name, rank, device=True))[late] for name in phases}
        return cls(kept, phases, {name: values for name, values in device.items() if values.any()})

    @property
    def waiting(self) -> float | None:
        """Share of the steps' time spent waiting for data, in [0, 1]; None where that was not timed."""
        total = float(self.steps.seconds.sum())
        return float(self.phases["data"].sum()) / total if "data" in self.phases and total > 0 else None

    @property
    def rate(self) -> float | None:
        """Images per second of training time; None where nobody counted them."""
        total, images = float(self.steps.seconds.sum()), int(self.steps.samples.sum())
        return images / total if images and total > 0 else None


def step_panels(timed: StepPhases) -> list[Panel]:
    """By phase, by epoch, how long, and when; none without timed steps."""
    if not len(timed.steps):
        return []
    slow = standing_out(timed.steps.seconds)
    by_phase = [_by_phase(timed)] if timed.phases else []
    by_epoch = [_by_epoch(timed)] if timed.phases and len(np.unique(timed.steps.epochs)) > 1 else []
    return [*by_phase, _histogram(timed.steps), _over_steps(timed.steps, slow), *by_epoch]


def standing_out(seconds: Floats) -> npt.NDArray[np.int64]:
    """Places of the steps beyond `bound`, of steps that took so many seconds, (S,)."""
    return np.flatnonzero(seconds > bound(seconds)).astype(np.int64)


def bound(seconds: Floats) -> float:
    """From how many seconds on a step stands out: half as long again as the median, and three robust deviations more.

    The robust standard deviation is 1.4826 times the median absolute deviation, which outliers cannot stretch; the rule
    StepOutlier holds steps against the same unless it is told otherwise.
    """
    if not len(seconds):
        return 0.0
    middle = float(np.median(seconds))
    return max(1.5 * middle, middle + 3 * 1.4826 * float(np.median(np.abs(seconds - middle))))


def outlier_table(timed: StepPhases, profile: Profile, rank: int = 0) -> Table:
    """The longest of the steps that stand out, with the phase that made them long and what happened beside them."""
    steps, middle = timed.steps, float(np.median(timed.steps.seconds)) if len(timed.steps) else 0.0
    slow = standing_out(steps.seconds)
    longest = sorted(slow[np.argsort(-steps.seconds[slow], kind="stable")][:_OUTLIERS])
    rows = [
        (
            int(steps.steps[i]),
            int(steps.epochs[i]),
            f"{1000 * steps.seconds[i]:,.0f}",
            f"{steps.seconds[i] / middle:.1f}",
            _longest_phase(timed, int(i)),
            _beside(timed, profile, int(i), rank),
        )
        for i in longest
    ]
    columns = ("step", "epoch", "ms", "times the median", "most of the excess", "beside it")
    return table("Steps that took much longer", columns, "rrrrll", rows)


def _by_phase(timed: StepPhases) -> Panel:
    means = {name: 1000 * float(values.mean()) for name, values in timed.phases.items()}
    device = {name: 1000 * float(values.mean()) for name, values in timed.device.items()}
    rows = {"training thread": means} | ({"GPU": device} if device else {})
    total = sum(means.values()) or 1.0
    told = [
        (
            name,
            f"{ms:.2f}",
            percent(ms / total),
            *([f"{device[name]:.2f}" if name in device else UNKNOWN] if device else []),
        )
        for name, ms in means.items()
    ]
    told.append(("whole step", f"{total:.2f}", percent(1.0), *([f"{sum(device.values()):.2f}"] if device else [])))
    columns = ("phase", "ms", "share of the step", *(["ms by the GPU's clock"] if device else []))
    most = max(means, key=lambda name: means[name])
    return Panel(
        key="system-phases",
        title="A training step by phase",
        says=f"The phases of a step of {total:.1f} ms; the longest is {most} with {percent(means[most] / total)}.",
        figure=stacked_bars(rows, unit="ms"),
        table=table("Phases of a training step (mean)", columns, "lrr" + "r" * bool(device), told),
        note=f"Mean of {several(len(timed.steps), 'timed step')}, the first {_WARM_UP} of the run left out."
        if timed.steps.steps[0] > 1
        else f"Mean of {several(len(timed.steps), 'timed step')}.",
        wide=True,
        unfolded=True,
    )


def _by_epoch(timed: StepPhases) -> Panel:
    epochs = timed.steps.epochs
    groups = np.array_split(np.unique(epochs), min(len(np.unique(epochs)), _COLUMNS))
    places = [str(group[0]) if len(group) == 1 else f"{group[0]} to {group[-1]}" for group in groups]
    inside = [np.isin(epochs, group) for group in groups]
    parts = {name: [1000 * float(values[i].mean()) for i in inside] for name, values in timed.phases.items()}
    rows = []
    for place, chosen in zip(places, inside, strict=True):
        seconds, images = float(timed.steps.seconds[chosen].sum()), int(timed.steps.samples[chosen].sum())
        waited = timed.phases["data"][chosen].sum() / seconds if "data" in timed.phases and seconds else None
        speed = f"{images / seconds:,.0f}" if images and seconds else UNKNOWN
        rows.append((place, f"{1000 * seconds / chosen.sum():.1f}", percent(waited), speed))
    columns = ("epoch", "ms per step", "waiting for data", "images/s")
    return Panel(
        key="system-epochs",
        title="A training step by phase in each epoch",
        says=f"Mean milliseconds of each phase of a step, over {several(len(np.unique(epochs)), 'epoch')}.",
        figure=stacked_columns(places, parts, unit="ms", axis="epoch"),
        table=table("Steps and waiting for data by epoch", columns, "lrrr", rows),
        wide=True,
    )


def _histogram(steps: StepTable) -> Panel:
    ms = 1000 * steps.seconds
    marks = {f"p{q}": float(np.percentile(ms, q)) for q in (50, 95, 99)}
    spread = max(marks["p95"] - float(np.percentile(ms, 5)), 0.02 * marks["p50"])
    end = min(float(ms.max()), marks["p95"] + 2 * spread)
    beyond = int((ms > end).sum())
    counts, edges = np.histogram(np.minimum(ms, end), bins=min(_BINS, max(5, int(np.sqrt(len(ms)) * 2))))
    rows = [("min", ms.min()), *marks.items(), ("max", ms.max()), ("mean", ms.mean())]
    cut = f" The last bar holds {several(beyond, 'step')} that took longer than {end:,.0f} ms." if beyond else ""
    return Panel(
        key="system-durations",
        title="Duration of training steps",
        says=f"Half of the steps take up to {marks['p50']:.1f} ms, 95 of 100 up to {marks['p95']:.1f} ms.",
        figure=duration_histogram([float(edge) for edge in edges], [int(one) for one in counts], marks),
        table=table("Duration of a step in ms", ("", "ms"), "lr", [(name, f"{value:.1f}") for name, value in rows]),
        note=f"p50, p95, p99: half, 95 and 99 of 100 steps are shorter.{cut}",
    )


def _over_steps(steps: StepTable, slow: npt.NDArray[np.int64]) -> Panel:
    series = ScalarSeries(steps.steps, 1000 * steps.seconds)
    shown = slow[np.argsort(-steps.seconds[slow], kind="stable")][:200]
    outliers = ScalarSeries(steps.steps[np.sort(shown)], 1000 * steps.seconds[np.sort(shown)])
    middle = series.smoothed(24)
    rows = [(int(step), f"{value:.1f}") for step, value in zip(middle.steps, middle.values, strict=True)]
    told = f"{count(len(slow))} of {several(len(steps), 'step')}"
    return Panel(
        key="system-steps",
        title="Training steps over time",
        says=f"Milliseconds of each step; {told} took much longer than the rest.",
        figure=step_durations(series, outliers),
        table=table("Duration of steps (median of each stretch)", ("step", "ms"), "rr", rows),
        note=f"{told} took longer than {1000 * bound(steps.seconds):,.0f} ms and stand out."
        if len(slow)
        else "No step stands out.",
    )


def _longest_phase(timed: StepPhases, place: int) -> str:
    over = {name: float(values[place] - np.median(values)) for name, values in timed.phases.items()}
    if not over:
        return UNKNOWN
    name = max(over, key=lambda one: over[one])
    return f"{name} (+{1000 * over[name]:,.0f} ms)"


def _beside(timed: StepPhases, profile: Profile, place: int, rank: int) -> str:
    """What happened at the same time, or between the step before and this one."""
    steps = timed.steps
    end = steps.starts[place] + steps.seconds[place]
    begin = steps.starts[place - 1] + steps.seconds[place - 1] - 1e-3 if place else steps.starts[place]
    near = [s.name for s in profile.stretches if s.rank == rank and s.start < end and s.start + s.seconds > begin]
    if place and steps.epochs[place] != steps.epochs[place - 1]:
        near.append("first step of an epoch")
    return ", ".join(dict.fromkeys(near))
