"""The profile of a run on disk: plain JSON lines, a line per look and per step, readable by anything.

profile/machine.json          what the job ran on
profile/gauges.jsonl          {"time", "values": {name: value}}; of rank 1 and on gauges.1.jsonl, ...
profile/spans.jsonl           {"step", "epoch", "start", "seconds", ...} of a step, {"name", "start", "seconds", ...}
profile/trace.json.gz         for Perfetto, where steps were traced; operators.json: what its operators cost
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadData
from clearsight.core.files import read_json, read_jsonl, write_json
from clearsight.core.profile import GaugeSample, Machine, Operator, Profile, Span, StepTimes, Trace

_DIGITS = 6  # of a second: what a clock of this kind can tell
# What goes into a line; dataclasses.asdict would copy everything first, at a cost that each training step would feel.
_NAMES = {kind: tuple(f.name for f in fields(kind) if f.name != "rank") for kind in (StepTimes, Span)}


def gauges_file(folder: Path, rank: int = 0) -> Path:
    """Where a rank's looks at the machine go."""
    return folder / (f"gauges.{rank}.jsonl" if rank else "gauges.jsonl")


def spans_file(folder: Path, rank: int = 0) -> Path:
    """Where a rank's steps and spans go."""
    return folder / (f"spans.{rank}.jsonl" if rank else "spans.jsonl")


def gauge_line(gauge: GaugeSample) -> str:
    """A look as one line, newline included."""
    values = {name: float(f"{value:.6g}") for name, value in gauge.values.items()}
    return json.dumps({"time": round(gauge.time, 3), "values": values}) + "\n"


def span_line(span: StepTimes | Span) -> str:
    """A step or a span as one line, newline included; what is empty is left out."""
    told = {name: _rounded(value) for name in _NAMES[type(span)] if (value := getattr(span, name)) not in ({}, None)}
    return json.dumps(told) + "\n"


def write_machine(folder: Path, machine: Machine) -> None:
    """Say what the job runs on."""
    write_json(folder / "machine.json", machine.to_json())


def write_trace(folder: Path, trace: Trace) -> None:
    """Write what the operators of the traced steps cost."""
    write_json(folder / "operators.json", asdict(trace))


def read_profile(folder: Path) -> Profile:
    """What lies in a run's `profile` folder, of every rank; an empty profile where there is none.

    A last line that a crash cut short is left out. Raises BadData for what is damaged in the middle.
    """
    try:
        return _read(folder)
    except (KeyError, TypeError, AttributeError) as error:
        what = f"it holds something that is no profile ({type(error).__name__}: {error})"
        raise BadData(str(folder), what, fix="Remove it to read the rest of the run.") from error


def _read(folder: Path) -> Profile:
    machine = folder / "machine.json"
    gauges = [
        GaugeSample(time=line["time"], values=line["values"], rank=rank)
        for rank, path in _ranks(folder, "gauges")
        for line in read_jsonl(path)
    ]
    steps: list[StepTimes] = []
    spans: list[Span] = []
    for rank, path in _ranks(folder, "spans"):
        for line in read_jsonl(path):
            (spans.append(_span(line, rank)) if "name" in line else steps.append(_step(line, rank)))
    return Profile(
        Machine.from_json(read_json(machine)) if machine.is_file() else None, gauges, steps, spans, _trace(folder)
    )


def rewind(folder: Path, step: int, rank: int = 0) -> None:
    """Drop a rank's steps after `step`: the run goes on from there. Looks at the machine and spans stay."""
    path = spans_file(folder, rank)
    if path.exists():
        kept = [line for line in read_jsonl(path) if "name" in line or line["step"] <= step]
        path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")


def _ranks(folder: Path, stem: str) -> Iterator[tuple[int, Path]]:
    for path in sorted(folder.glob(f"{stem}*.jsonl")):
        if match := re.fullmatch(rf"{stem}(?:\.(\d+))?\.jsonl", path.name):
            yield int(match[1] or 0), path


def _step(line: Mapping[str, Any], rank: int) -> StepTimes:
    known = {f.name for f in fields(StepTimes)}
    return StepTimes(**{name: value for name, value in line.items() if name in known}, rank=rank)


def _span(line: Mapping[str, Any], rank: int) -> Span:
    known = {f.name for f in fields(Span)}
    return Span(**{name: value for name, value in line.items() if name in known}, rank=rank)


def _trace(folder: Path) -> Trace | None:
    path = folder / "operators.json"
    if not path.is_file():
        return None
    told = read_json(path)
    operators = tuple(Operator(**one) for one in told.pop("operators"))
    return Trace(**told, operators=operators)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, Mapping):
        return {name: _rounded(inner) for name, inner in value.items()}
    return value
