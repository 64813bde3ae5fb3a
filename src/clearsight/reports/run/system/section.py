"""The section of the system: where the job's time went, what the machine did, and what would make it faster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clearsight.core.finding import flags
from clearsight.core.profile import SPAN_NAMES, Profile
from clearsight.reports.charts.machine import stacked_bars
from clearsight.reports.charts.timeline import extent
from clearsight.reports.kit.format import UNKNOWN, count, duration, percent, several
from clearsight.reports.kit.section import PageSection, Panel, Table, table
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.run.system.loading import batch_sentences, loading_panels, loading_sentences
from clearsight.reports.run.system.step_times import StepPhases, outlier_table, step_panels
from clearsight.reports.run.system.utilisation import ranks_table, readings_table, utilisation_panels

_OPERATORS = 15
_HOW = (
    "Nothing was measured of the machine on this run. Train without --profile off, or run any script as "
    "clearsight profile -- python train.py, to see here where the time goes."
)


@dataclass(frozen=True, kw_only=True)
class Subsection:
    """A piece of the section under a heading of its own: sentences, then charts, then tables."""

    title: str
    says: Sequence[str] = ()
    panels: Sequence[Panel] = ()
    tables: Sequence[Table] = ()

    def __bool__(self) -> bool:
        return bool(self.says or self.panels or self.tables)


def system(facts: RunReportData) -> PageSection:
    """A run without a profile says in one line how to get one."""
    parts = [part for part in (*_measured(facts.profile or Profile()), *_told(facts)) if part]
    return PageSection(
        key="system",
        title="System",
        template="system.html",
        values={"parts": parts, "how": "" if facts.profile else _HOW},
        panels=tuple(panel for part in parts for panel in part.panels),
        tables=tuple(one for part in parts for one in part.tables),
    )


def job_parts(profile: Profile, rank: int = 0) -> dict[str, float]:
    """Seconds of a job by what it did: initialisation, training steps, the other stretches, and the rest."""
    start, end = extent(profile)
    spans = [span for span in profile.stretches if span.rank == rank]
    names = [*SPAN_NAMES, *dict.fromkeys(span.name for span in spans if span.name not in SPAN_NAMES)]
    spent = {name: sum(span.seconds for span in spans if span.name == name) for name in names}
    training = float(profile.steps(rank).seconds.sum())
    ordered = {"initialisation": spent.pop("initialisation"), "training": training, **spent}
    rest = end - start - sum(ordered.values())
    if rest > 0.005 * (end - start):
        ordered["rest"] = rest
    return {name: seconds for name, seconds in ordered.items() if seconds > 0}


def _measured(profile: Profile) -> list[Subsection]:
    if not profile:
        return []
    rank = profile.ranks()[0] if profile.ranks() else 0
    timed = StepPhases.of(profile, rank)
    outliers, readings = outlier_table(timed, profile, rank), readings_table(profile, rank)
    several_ranks = [ranks_table(profile)] if len(profile.ranks()) > 1 else []
    return [
        Subsection(title="Where the time went", panels=_job(profile, rank)),
        Subsection(title="Training steps", panels=step_panels(timed), tables=[outliers] if outliers.rows else []),
        Subsection(
            title="What the machine did",
            says=_machine(profile),
            panels=utilisation_panels(profile, rank),
            tables=[*([readings] if readings.rows else []), *several_ranks],
        ),
        Subsection(
            title="Loading of data",
            says=loading_sentences(profile, timed, rank),
            panels=loading_panels(profile, rank),
        ),
        Subsection(title="Batch size", says=batch_sentences(profile, timed, rank)),
        *_operators(profile),
    ]


def _told(facts: RunReportData) -> list[Subsection]:
    """What others worked out from the profile and handed in."""
    return [
        *_hotlines(facts.hotlines),
        *_what_if(facts.what_if),
        *_tuning(facts.tuning),
    ]


def _job(profile: Profile, rank: int) -> list[Panel]:
    parts = job_parts(profile, rank)
    if not parts:
        return []
    total = sum(parts.values())
    rows = [(name, duration(seconds), percent(seconds / total)) for name, seconds in parts.items()]
    told = ", ".join(f"{name} {percent(seconds / total)}" for name, seconds in parts.items())
    return [
        Panel(
            key="system-job",
            title="The job by what it did",
            says=f"{duration(total)} in all: {told}.",
            figure=stacked_bars({"job": parts}, unit="seconds"),
            table=table(
                "Time of the job", ("what", "time", "share"), "lrr", [*rows, ("in all", duration(total), percent(1.0))]
            ),
            wide=True,
            unfolded=True,
        )
    ]


def _machine(profile: Profile) -> list[str]:
    machine = profile.machine
    known = [
        machine.name or {"cuda": "a GPU", "cpu": ""}.get(machine.device, machine.device),
        several(machine.cores, "core") if machine.cores else "",
        f"{machine.memory_bytes / 2**30:.0f} GiB of memory" if machine.memory_bytes else "",
        several(machine.threads, "torch thread") if machine.threads else "",
        "without a GPU" if machine.device == "cpu" else "",
        machine.precision,
        "channels last" if machine.channels_last else "",
    ]
    told = ", ".join(word for word in known if word)
    looks = len(profile.looks)
    every = f", every {machine.interval:g} s" if machine.interval else ""
    return ([f"On {told}."] if told else []) + (
        [f"{several(looks, 'look')} at the machine{every}; a chart shows the mean of each stretch."] if looks else []
    )


def _operators(profile: Profile) -> list[Subsection]:
    trace = profile.trace
    if trace is None or not trace.operators:
        return []
    on_device = any(one.device_seconds for one in trace.operators)
    cost = {one: one.device_seconds if on_device else one.cpu_seconds for one in trace.operators}
    total = sum(cost.values()) or 1.0
    rows = [
        (
            one.name,
            f"{one.calls / trace.steps:,.0f}",
            f"{1000 * one.cpu_seconds / trace.steps:.2f}",
            *([f"{1000 * one.device_seconds / trace.steps:.2f}"] if on_device else []),
            percent(cost[one] / total),
            f"{one.memory_bytes / 2**20:,.1f}" if one.memory_bytes > 0 else UNKNOWN,
        )
        for one in sorted(cost, key=lambda one: -cost[one])[:_OPERATORS]
    ]
    device = ["GPU ms per step"] if on_device else []
    columns = ("operator", "calls per step", "CPU ms per step", *device, "share", "MiB")
    kind = "GPU kernels" if on_device else "operators"
    each = f", {1e6 * trace.kernel_seconds / trace.kernels:.0f} µs each" if trace.kernels else ""
    says = [
        f"Steps {trace.first} to {trace.last} were traced: {count(round(trace.kernels / trace.steps))} {kind} a step"
        f"{each}. profile/trace.json.gz opens in Perfetto."
    ]
    left = len(trace.operators) - len(rows)
    if left > 0:
        says.append(f"The {_OPERATORS} most costly of {several(len(trace.operators), 'operator')} are listed.")
    return [
        Subsection(
            title="Operators",
            says=says,
            tables=[table("Operators, most costly first", columns, "l" + "r" * (len(columns) - 1), rows)],
        )
    ]


def _hotlines(rows: Sequence[Mapping[str, object]]) -> list[Subsection]:
    if not rows:
        return []
    listed = table(
        "Hot lines", ("line", "share"), "lr", [(row["where"], percent(_number(row["share"]))) for row in rows]
    )
    says = ["Where the job's own Python code was, by the share of its time."]
    return [Subsection(title="Hot lines", says=says, tables=[listed])]


def _what_if(rows: Sequence[Mapping[str, object]]) -> list[Subsection]:
    if not rows:
        return []
    told = []
    for row in rows:
        now, then = _number(row.get("images_per_second_now")), _number(row.get("images_per_second_then"))
        gain = f"{then / now:.2f} ×" if now and then else UNKNOWN
        told.append((row["name"], _change(row.get("change")), _rate(now), _rate(then), gain, row.get("basis", "")))
    columns = ("if", "change", "images/s now", "images/s then", "gain", "worked out from")
    title = "What would make it faster"
    says = ["Estimates from what was measured, one change at a time."]
    return [Subsection(title=title, says=says, tables=[table(title, columns, "llrrrl", told)])]


def _tuning(tuning: Mapping[str, object] | None) -> list[Subsection]:
    if not tuning:
        return []
    chosen = _change(tuning.get("chosen"))
    rows = [
        (
            _change(row["settings"]),
            _rate(_number(row.get("images_per_second"))),
            f"± {_rate(_number(row.get('spread')))}" if row.get("spread") is not None else UNKNOWN,
            "chosen" if row["settings"] == tuning.get("chosen") else "",
            row.get("note") or "",
        )
        for row in _rows(tuning.get("rows"))
    ]
    says = [f"Chosen: {chosen}." if chosen else "Nothing was changed.", str(tuning.get("why") or "")]
    columns = ("settings", "images/s", "spread", "", "note")
    title = "Settings that were tried"
    tables = [table(title, columns, "lrrll", rows)] if rows else []
    return [Subsection(title=title, says=[word for word in says if word], tables=tables)]


def _rows(rows: object) -> Sequence[Mapping[str, object]]:
    return rows if isinstance(rows, (list, tuple)) else ()


def _change(change: object) -> str:
    """A change as it is typed, or in the words it came with."""
    return flags(change) if isinstance(change, Mapping) else str(change or "")


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _rate(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
