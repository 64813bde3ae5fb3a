"""Section of the system: how long each part of the job took, what the machine did, and what would make it faster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearsight.core.finding import flags
from clearsight.core.format import count, duration, rate, several
from clearsight.core.profile import SPAN_NAMES, Profile
from clearsight.reports.charts.gauges import time_range
from clearsight.reports.charts.machine import stacked_bars
from clearsight.reports.kit.format import UNKNOWN, percent
from clearsight.reports.kit.section import PageSection, Panel, Table, table
from clearsight.reports.run.loading import batch_sentences, loading_panels, loading_sentences
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.run.step_times import StepPhases, outlier_table, parts_table, step_panels
from clearsight.reports.run.utilisation import ranks_table, readings_table, utilisation_panels

_OPERATORS = 15
_REST_SHARE = 0.005  # of the job; a smaller remainder is inaccuracy of the clocks
_NO_PROFILE = (
    "The profiler measured nothing on this run. Train without --profile off, or run any script as "
    "clearsight profile -- python train.py, to see here where the time goes."
)


@dataclass(frozen=True, kw_only=True)
class Subsection:
    """Part of the section under a heading of its own: sentences, then charts, then tables. It is falsy when empty."""

    title: str
    sentences: Sequence[str] = ()
    panels: Sequence[Panel] = ()
    tables: Sequence[Table] = ()

    def __bool__(self) -> bool:
        return bool(self.sentences or self.panels or self.tables)


def system(report: RunReportData) -> PageSection:
    """Return the section; for a run without a profile it tells how to get one."""
    # The last three come from other packages, which computed them from the profile.
    conclusions = [*_hot_lines(report.hotlines), *_what_if(report.what_if), *_tuning(report.tuning)]
    parts = [part for part in (*_measurements(report.profile or Profile()), *conclusions) if part]
    return PageSection(
        key="system",
        title="System",
        template="run/system.html",
        values={"parts": parts, "hint": "" if report.profile else _NO_PROFILE},
        panels=tuple(panel for part in parts for panel in part.panels),
        tables=tuple(content for part in parts for content in part.tables),
    )


def job_parts(profile: Profile, rank: int = 0) -> dict[str, float]:
    """Return the seconds of a job by part: initialisation, training steps, the other spans, and the rest."""
    start, end = time_range(profile)
    spans = [span for span in profile.all_spans if span.rank == rank]
    # Known spans in their usual order, then those that the user named.
    names = [*SPAN_NAMES, *dict.fromkeys(span.name for span in spans if span.name not in SPAN_NAMES)]
    seconds = {name: sum(span.seconds for span in spans if span.name == name) for name in names}
    training = float(profile.steps(rank).seconds.sum())
    # The pass that computes features is a part of the initialisation.
    before = max(0.0, seconds.pop("initialisation") - seconds["features"])
    parts = {"initialisation": before, "features": seconds.pop("features"), "training": training, **seconds}
    rest = end - start - sum(parts.values())
    if rest > _REST_SHARE * (end - start):
        parts["rest"] = rest
    return {name: value for name, value in parts.items() if value > 0}


def _measurements(profile: Profile) -> list[Subsection]:
    if not profile:
        return []
    # The ranks of a distributed run do the same work; the first one stands for all, and a table compares them.
    rank = profile.ranks()[0] if profile.ranks() else 0
    timed = StepPhases.of(profile, rank)
    outliers, readings = outlier_table(timed, profile, rank), readings_table(profile, rank)
    ranks = [ranks_table(profile)] if len(profile.ranks()) > 1 else []
    return [
        Subsection(title="Where the time went", panels=_job(profile, rank)),
        Subsection(title="Training steps", panels=step_panels(timed), tables=[outliers] if outliers.rows else []),
        Subsection(
            title="What the machine did",
            sentences=_machine(profile),
            panels=utilisation_panels(profile, rank),
            tables=[*([readings] if readings.rows else []), *ranks],
        ),
        Subsection(
            title="Loading of data",
            sentences=loading_sentences(profile, timed, rank),
            panels=loading_panels(profile, rank),
        ),
        Subsection(title="Batch size", sentences=batch_sentences(profile, timed, rank)),
        *_operators(profile),
    ]


def _job(profile: Profile, rank: int) -> list[Panel]:
    parts = job_parts(profile, rank)
    if not parts:
        return []
    total = sum(parts.values())
    shares = ", ".join(f"{name} {percent(seconds / total)}" for name, seconds in parts.items())
    return [
        Panel(
            key="system-job",
            title="Time of the job by part",
            description=f"{duration(total)} in total: {shares}.",
            figure=stacked_bars({"job": parts}, unit="seconds"),
            table=parts_table("Time of the job", "time", parts, duration),
            wide=True,
            unfolded=True,
        )
    ]


def _machine(profile: Profile) -> list[str]:
    machine = profile.machine
    parts = [
        machine.name or {"cuda": "a GPU", "cpu": ""}.get(machine.device, machine.device),
        several(machine.cores, "core") if machine.cores else "",
        f"{machine.memory_bytes / 2**30:.0f} GiB of memory" if machine.memory_bytes else "",
        several(machine.threads, "torch thread") if machine.threads else "",
        "without a GPU" if machine.device == "cpu" else "",
        machine.precision,
        "channels last" if machine.channels_last else "",
    ]
    description = ", ".join(part for part in parts if part)
    samples = len(profile.gauge_samples)  # of all ranks
    interval = f", one every {machine.interval:g} s" if machine.interval else ""
    return [
        *([f"The machine: {description}."] if description else []),
        *([f"Its gauges have {several(samples, 'sample')}{interval}; charts show means."] if samples else []),
    ]


def _operators(profile: Profile) -> list[Subsection]:
    trace = profile.trace
    if trace is None or not trace.operators:
        return []
    # On a GPU the processor only launches the kernels; its own time says little about what is slow.
    on_gpu = any(operator.device_seconds for operator in trace.operators)
    seconds = {operator: operator.device_seconds if on_gpu else operator.cpu_seconds for operator in trace.operators}
    total = sum(seconds.values()) or 1.0
    rows = [
        (
            operator.name,
            f"{operator.calls / trace.steps:,.0f}",
            f"{1000 * operator.cpu_seconds / trace.steps:.2f}",
            *([f"{1000 * operator.device_seconds / trace.steps:.2f}"] if on_gpu else []),
            percent(seconds[operator] / total),
            # Negative for an operator that frees more than it takes.
            f"{operator.memory_bytes / 2**20:,.1f}" if operator.memory_bytes > 0 else UNKNOWN,
        )
        for operator in sorted(seconds, key=lambda operator: -seconds[operator])[:_OPERATORS]
    ]
    gpu_column = ["GPU ms per step"] if on_gpu else []
    columns = ("operator", "calls per step", "CPU ms per step", *gpu_column, "share", "MiB")
    kind = "GPU kernels" if on_gpu else "operators"
    mean = f", {1e6 * trace.kernel_seconds / trace.kernels:.0f} µs each on average" if trace.kernels else ""
    sentences = [
        f"Steps {trace.first} to {trace.last} were traced: {count(round(trace.kernels / trace.steps))} {kind} per step"
        f"{mean}. Perfetto opens the trace, profile/trace.json.gz."
    ]
    if len(trace.operators) > len(rows):
        sentences.append(f"The {_OPERATORS} most costly of {several(len(trace.operators), 'operator')} are listed.")
    listed = table("Operators, most costly first", columns, "l" + "r" * (len(columns) - 1), rows)
    return [Subsection(title="Operators", sentences=sentences, tables=[listed])]


def _hot_lines(rows: Sequence[Mapping[str, Any]]) -> list[Subsection]:
    if not rows:
        return []
    listed = table("Hot lines", ("line", "share"), "lr", [(row["where"], percent(row["share"])) for row in rows])
    sentences = ["Lines of the job's own Python code by their share of its time."]
    return [Subsection(title="Hot lines", sentences=sentences, tables=[listed])]


def _what_if(rows: Sequence[Mapping[str, Any]]) -> list[Subsection]:
    if not rows:
        return []
    estimates = []
    for row in rows:
        before, after = row.get("images_per_second_now"), row.get("images_per_second_then")
        gain = f"{after / before:.2f} ×" if before and after else UNKNOWN
        estimates.append(
            (row["name"], _change(row.get("change")), _rate(before), _rate(after), gain, row.get("basis", ""))
        )
    columns = ("if", "change", "images/s now", "images/s then", "gain", "based on")
    title = "What would make it faster"
    sentences = ["Estimates from the measurements, one change at a time."]
    return [Subsection(title=title, sentences=sentences, tables=[table(title, columns, "llrrrl", estimates)])]


def _tuning(tuning: Mapping[str, Any] | None) -> list[Subsection]:
    if not tuning:
        return []
    chosen = _change(tuning.get("chosen"))
    rows = [
        (
            _change(row["settings"]),
            _rate(row.get("images_per_second")),
            f"± {rate(row['spread'])}" if row.get("spread") is not None else UNKNOWN,
            "chosen" if row["settings"] == tuning.get("chosen") else "",
            row.get("note") or "",
        )
        for row in tuning.get("rows", ())
    ]
    sentences = [f"Chosen: {chosen}." if chosen else "Nothing was changed.", str(tuning.get("why") or "")]
    columns = ("settings", "images/s", "spread", "", "note")
    title = "Settings that were tried"
    tables = [table(title, columns, "lrrll", rows)] if rows else []
    return [Subsection(title=title, sentences=[text for text in sentences if text], tables=tables)]


def _change(change: Any) -> str:
    """Return a change of settings as flags, or the text that stands for it."""
    return flags(change) if isinstance(change, Mapping) else str(change or "")


def _rate(value: float | None) -> str:
    return UNKNOWN if value is None else rate(value)
