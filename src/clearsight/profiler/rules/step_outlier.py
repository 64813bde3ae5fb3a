"""StepOutlier: some steps take much longer than the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.profile import Floats, Profile, StepTable
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.window import LEAST, WARM_UP, others

_NORMAL = 1.4826  # median absolute deviation to standard deviation, of a normal distribution
_FELT = 1.0  # seconds that all outliers together cost
_FEWEST = 3
_SHARE = 0.01  # of the steps
_LONGER = 1.5  # times the median: what is shorter costs nothing
_TWO_KINDS = 0.2  # share of the steps from which on they are no outliers but a second kind of step
_COSTLY = 0.05  # share of the training time from which on it is worth a warning
_TAKEN = 20.0  # per cent of the cores that others take, from which on it is they
_MOST = 0.5  # share of outliers that a reason must explain
_NAMED = 8


@dataclass(frozen=True, slots=True)
class _Outliers:
    """Which steps (S,) are outliers, from how many seconds on, what is usual, and their share of all time beyond it."""

    table: StepTable
    chosen: npt.NDArray[np.bool_]
    bound: float
    usual: float
    cost: float

    def __len__(self) -> int:
        return int(self.chosen.sum())

    @property
    def steps(self) -> list[int]:
        return [int(step) for step in self.table.steps[self.chosen]]


class StepOutlier(Rule):
    """Found when more than `n_outliers` training steps took longer than the median by `stddev` standard deviations.

    The deviation is 1.4826 times the median absolute one: SageMaker's mean and standard deviation are made by the
    outliers themselves, and three long steps hide the fourth. An outlier must also take half as long again as the
    median, since a step that is a hundredth longer costs nothing; and where over a fifth of the steps do, there are two
    kinds of step. The first three steps of a run, in which it warms up, do not count. It says what the long steps have
    in common: waiting for a batch, a phase, a checkpoint or validation, or the start of an epoch.
    Where no number is said, at least 3 and more than 1 % of the steps must be outliers, and cost a second together;
    SageMaker's is 10 in any run.
    """

    topic = "speed"

    stddev: float = setting(3.0, "deviations above the median", above=0, unit="standard deviations")
    mode: Literal["train"] | None = setting(None, "which steps: only those of training are timed")
    n_outliers: int | None = setting(
        None, "outliers that are borne [default: 2, or 1 % of the steps]", low=0, unit="steps"
    )

    def needs(self) -> Needs:
        return Needs(counted="timed", points=LEAST + WARM_UP)

    def check(self, view: RunView) -> Iterator[Finding]:
        table = view.profile.steps()
        if len(table) < self.needs().points:
            yield self.not_enough_data(have=len(table))
            return
        borne = max(_FEWEST - 1, int(_SHARE * len(table))) if self.n_outliers is None else self.n_outliers
        seen = self._outliers(table)
        unfelt = self.n_outliers is None and seen.cost * float(table.seconds[WARM_UP:].sum()) < _FELT
        if len(seen) <= borne or len(seen) > _TWO_KINDS * len(table) or unfelt:
            yield self.clear(value=len(seen), threshold=borne, unit="steps")
            return
        yield self._long(view, seen, borne)

    def _outliers(self, table: StepTable) -> _Outliers:
        seconds = table.seconds
        rest = seconds[WARM_UP:]
        usual = float(np.median(rest))
        deviation = _NORMAL * float(np.median(np.abs(rest - usual)))
        bound = max(usual + self.stddev * deviation, _LONGER * usual)
        chosen = seconds > bound
        chosen[:WARM_UP] = False
        return _Outliers(table, chosen, bound, usual, float((seconds[chosen] - usual).sum() / max(rest.sum(), 1e-12)))

    def _long(self, view: RunView, seen: _Outliers, borne: int) -> Finding:
        reason = _reason(view, seen)
        table, steps = seen.table, seen.steps
        which = ", ".join(str(step) for step in steps[:_NAMED]) + (" and others" if len(steps) > _NAMED else "")
        longest = float(table.seconds[seen.chosen].max())
        return self.found(
            value=len(seen),
            threshold=borne,
            unit="steps",
            severity=Severity.WARNING if seen.cost > _COSTLY and not reason.elsewhere else Severity.INFO,
            steps=(steps[0], steps[-1]),
            epoch=int(table.epochs[seen.chosen][0]),
            cause=(
                f"{len(steps)} of {len(table)} steps took over {seen.bound:.3g} s, up to {longest:.3g} s, where "
                f"{seen.usual:.3g} s is usual, and {100 * seen.cost:.2g} % of the time (steps {which}){reason.cause}"
            ),
            advice=reason.advice,
            because=("DataWait",) if reason.waits else (),
            evidence=Series.of("step, seconds", table.steps, table.seconds),
        )


@dataclass(frozen=True, slots=True)
class _Reason:
    """What most of the long steps have in common, and whether it is waiting for batches, or others' work."""

    cause: str
    advice: str
    waits: bool = False
    elsewhere: bool = False


def _reason(view: RunView, seen: _Outliers) -> _Reason:
    total, least, profile = len(seen), _MOST * len(seen), view.profile

    def of_them(count: int) -> str:
        return f"all {count}" if count == total else f"{count} of the {total}"

    new_epoch = np.diff(seen.table.epochs, prepend=seen.table.epochs[0]) > 0
    starts, beside = int((new_epoch & seen.chosen).sum()), int((_beside(profile, seen.table) & seen.chosen).sum())
    phase, by_phase = _phase(profile, seen)
    waits = phase in ("data", "transfer")
    if starts > least:
        waited = f", {by_phase} of them waiting for their batches" if waits else ""
        advice = "Let readers go on between epochs, so that the first batch of the next one is there in time."
        return _Reason(f"; {of_them(starts)} are the first of an epoch{waited}", advice, waits=waits)
    if beside > least:
        advice = "Validate or write checkpoints less often, or let them share no core with training."
        return _Reason(f"; {of_them(beside)} come with a checkpoint or validation", advice)
    if waits:
        advice = "See to it that batches come in time: more readers, or less to do per image."
        return _Reason(f"; {of_them(by_phase)} waited for their batches", advice, waits=True)
    where = f"; in {of_them(by_phase)} the time went into {phase}" if phase else ""
    if (taken := others(view)) > _TAKEN:
        advice = "End other work on the machine, or train when there is none."
        return _Reason(f"{where}; other processes take {taken:.0f} % of the cores", advice, elsewhere=True)
    return _Reason(where, "Look for other work on the machine at these steps, or for images of other sizes in them.")


def _phase(profile: Profile, seen: _Outliers) -> tuple[str, int]:
    """The phase in which most long steps lose most of what they take longer, and how many do; "" without one."""
    excess = seen.table.seconds[seen.chosen] - seen.usual
    counts: dict[str, int] = {}
    for name in profile.phases():
        spent: Floats = profile.phase(name)
        if np.isfinite(spent).any():
            more = spent[seen.chosen] - np.nanmedian(spent)
            counts[name] = int((np.nan_to_num(more) > _MOST * excess).sum())
    most = max(counts, key=lambda name: counts[name], default="")
    return (most, counts[most]) if most and counts[most] > _MOST * len(seen) else ("", 0)


def _beside(profile: Profile, table: StepTable) -> npt.NDArray[np.bool_]:
    """Steps (S,) in which, or between which and the step before, a checkpoint or validation began or went on."""
    ends = table.starts + table.seconds
    since = np.concatenate([table.starts[:1], ends[:-1]])
    beside = np.zeros(len(table), bool)
    for span in (*profile.spans("checkpoint"), *profile.spans("validation")):
        beside |= (span.start < ends) & (span.start + span.seconds > since)
    return beside
