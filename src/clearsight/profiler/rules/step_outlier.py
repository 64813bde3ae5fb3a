"""StepOutlier: some steps take much longer than the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.profile import Floats, Profile, StepTable
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.timed_steps import MIN_STEPS, WARM_UP
from clearsight.profiler.analysis.window import use_by_other_processes
from clearsight.profiler.rules.speed_rule import OTHER_WORK, SpeedRule

_MAD_TO_DEVIATION = 1.4826  # median absolute deviation to standard deviation, of a normal distribution
_MIN_COST = 1.0  # seconds that all outliers cost together; less is not worth a finding
_MIN_OUTLIERS = 3
_MIN_SHARE = 0.01  # of the steps
_MIN_RATIO = 1.5  # to the median: shorter steps cost next to nothing, however regular the others are
_MAX_SHARE = 0.2  # of the steps: more are no outliers but a second kind of step
_WARNING_COST = 0.05  # share of the training time; below it the finding is info
_OTHERS_USE = 20.0  # per cent of the cores that other processes use, from which on they are the reason
_MOST = 0.5  # share of the outliers that a reason must explain
_MAX_NAMED = 8  # step numbers in a sentence


@dataclass(frozen=True, slots=True)
class _Outliers:
    """Steps that took too long.

    table: all steps.  chosen: (S,) True for an outlier.  limit: seconds above which a step is one.
    usual: median seconds.  cost: time of the outliers above the usual one, as a share of the time of all steps.
    """

    table: StepTable
    chosen: npt.NDArray[np.bool_]
    limit: float
    usual: float
    cost: float

    def __len__(self) -> int:
        return int(self.chosen.sum())

    @property
    def steps(self) -> list[int]:
        return [int(step) for step in self.table.steps[self.chosen]]


class StepOutlier(SpeedRule):
    """Found when more than `n_outliers` training steps took longer than the median by `stddev` standard deviations.

    The deviation is 1.4826 times the median absolute one: outliers increase the mean and standard deviation of
    SageMaker's rule themselves, and three long steps hide the fourth. An outlier must also take half as long again as
    the median, because a step that is a hundredth longer costs nothing; and if over a fifth of the steps do, there are
    two kinds of step. The first three steps of a run, its warm-up, do not count. The cause says what the long steps
    have in common: waiting for a batch, a phase, a checkpoint or validation, or the start of an epoch.
    By default at least 3 and more than 1 % of the steps must be outliers, and cost a second together; SageMaker's
    number is 10 in any run.
    """

    points = MIN_STEPS + WARM_UP

    stddev: float = setting(3.0, "deviations above the median", above=0, unit="standard deviations")
    mode: Literal["train"] | None = setting(None, "which steps: only those of training are timed")
    n_outliers: int | None = setting(
        None, "outliers that are allowed [default: 2, or 1 % of the steps]", low=0, unit="steps"
    )

    def verdict(self, view: RunView) -> Finding:
        table = view.profile.steps()
        if len(table) < self.needs().points:
            return self.not_enough_data(have=len(table))
        allowed = max(_MIN_OUTLIERS - 1, int(_MIN_SHARE * len(table))) if self.n_outliers is None else self.n_outliers
        outliers = self._outliers(table)
        cheap = self.n_outliers is None and outliers.cost * float(table.seconds[WARM_UP:].sum()) < _MIN_COST
        if len(outliers) <= allowed or len(outliers) > _MAX_SHARE * len(table) or cheap:
            return self.clear(value=len(outliers), threshold=allowed, unit="steps")
        return self._long_steps(view, outliers, allowed)

    def _outliers(self, table: StepTable) -> _Outliers:
        seconds = table.seconds
        rest = seconds[WARM_UP:]
        usual = float(np.median(rest))
        deviation = _MAD_TO_DEVIATION * float(np.median(np.abs(rest - usual)))
        limit = max(usual + self.stddev * deviation, _MIN_RATIO * usual)
        chosen = seconds > limit
        chosen[:WARM_UP] = False
        cost = float((seconds[chosen] - usual).sum() / max(rest.sum(), 1e-12))
        return _Outliers(table, chosen, limit, usual, cost)

    def _long_steps(self, view: RunView, outliers: _Outliers, allowed: int) -> Finding:
        reason, consequences = _reason(view, outliers)
        table, steps = outliers.table, outliers.steps
        named = ", ".join(str(step) for step in steps[:_MAX_NAMED]) + (" and others" if len(steps) > _MAX_NAMED else "")
        longest = float(table.seconds[outliers.chosen].max())
        severity = Severity.WARNING if outliers.cost > _WARNING_COST else Severity.INFO
        return self.found(
            value=len(outliers),
            threshold=allowed,
            unit="steps",
            steps=(steps[0], steps[-1]),
            epoch=int(table.epochs[outliers.chosen][0]),
            cause=(
                f"{len(steps)} of {len(table)} steps took over {outliers.limit:.3g} s, up to {longest:.3g} s, while "
                f"{outliers.usual:.3g} s is usual; their extra time is {100 * outliers.cost:.2g} % of the total "
                f"(steps {named}){reason}"
            ),
            evidence=Series.of("step, seconds", table.steps, table.seconds),
            **{"severity": severity, **consequences},
        )


def _reason(view: RunView, outliers: _Outliers) -> tuple[str, dict[str, Any]]:
    """Return the most specific reason that over half of the outliers share: an epoch's start also explains a wait.

    The reason is a clause; with it comes what follows from it, as arguments of `found`.
    """
    total, least, profile = len(outliers), _MOST * len(outliers), view.profile

    def part(count: int) -> str:
        return f"all {count}" if count == total else f"{count} of the {total}"

    new_epoch = np.diff(outliers.table.epochs, prepend=outliers.table.epochs[0]) > 0
    starts = int((new_epoch & outliers.chosen).sum())
    near_spans = int((_near_spans(profile, outliers.table) & outliers.chosen).sum())
    phase, by_phase = _slow_phase(profile, outliers)
    waits = phase in ("data", "transfer")
    if starts > least:
        wait = f", {by_phase} of them waiting for their batches" if waits else ""
        advice = (
            "Keep loader workers running between epochs, so that the first batch of the next epoch is ready in time."
        )
        because = ("DataWait",) if waits else ()
        return f"; {part(starts)} are the first of an epoch{wait}", {"advice": advice, "because": because}
    if near_spans > least:
        advice = "Validate or write checkpoints less often, or keep them off the cores that train."
        return f"; {part(near_spans)} coincide with a checkpoint or validation", {"advice": advice}
    if waits:
        advice = "Make batches arrive in time: use more loader workers, or less work per image."
        return f"; {part(by_phase)} waited for their batches", {"advice": advice, "because": ("DataWait",)}
    slow_phase = f"; in {part(by_phase)} the time was spent on {phase}" if phase else ""
    if (others := use_by_other_processes(view)) > _OTHERS_USE:
        return f"{slow_phase}; other processes use {others:.0f} % of the cores", OTHER_WORK
    return slow_phase, {"advice": "Look for other work on the machine at these steps, or for images of other sizes."}


def _slow_phase(profile: Profile, outliers: _Outliers) -> tuple[str, int]:
    """Return the phase in which most long steps lose most of their extra time, and their number; "" without one."""
    excess = outliers.table.seconds[outliers.chosen] - outliers.usual
    counts: dict[str, int] = {}
    for name in profile.phases():
        seconds: Floats = profile.phase(name)
        if np.isfinite(seconds).any():
            more = seconds[outliers.chosen] - np.nanmedian(seconds)
            counts[name] = int((np.nan_to_num(more) > _MOST * excess).sum())
    slowest = max(counts, key=lambda name: counts[name], default="")
    return (slowest, counts[slowest]) if slowest and counts[slowest] > _MOST * len(outliers) else ("", 0)


def _near_spans(profile: Profile, table: StepTable) -> npt.NDArray[np.bool_]:
    """Return True for steps, (S,), in or right before which a checkpoint or validation ran."""
    ends = table.starts + table.seconds
    since = np.concatenate([table.starts[:1], ends[:-1]])  # the end of the step before
    near = np.zeros(len(table), bool)
    for span in (*profile.spans("checkpoint"), *profile.spans("validation")):
        near |= (span.start < ends) & (span.start + span.seconds > since)
    return near
