"""The profile of a run on disk: plain JSON lines, one per gauge sample, per step and per span.

profile/machine.json          the machine and the settings of the job
profile/gauges.jsonl          {"time", "values": {name: value}}; from rank 1 on gauges.1.jsonl, ...
profile/spans.jsonl           {"step", "epoch", "start", "seconds", ...} of a step, {"name", "start", "seconds", ...}
profile/operators.json        costs of the operators, if steps were traced; trace.json.gz: the same steps for Perfetto
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
from clearsight.core.profile import GaugeSample, Machine, Profile, Span, StepTimes, Trace
from clearsight.core.records import read_record

_DECIMALS = 6  # microseconds: the resolution of the clocks that are read
# Fields of a line. dataclasses.asdict would copy everything first, and each training step would pay for it.
_FIELDS = {kind: tuple(f.name for f in fields(kind) if f.name != "rank") for kind in (StepTimes, Span)}
_OLD_LOAD_KEYS = {"pictures": "images"}  # of files that were written before the key was renamed


def gauges_file(folder: Path, rank: int = 0) -> Path:
    return folder / (f"gauges.{rank}.jsonl" if rank else "gauges.jsonl")


def spans_file(folder: Path, rank: int = 0) -> Path:
    return folder / (f"spans.{rank}.jsonl" if rank else "spans.jsonl")


def gauge_line(sample: GaugeSample) -> str:
    """Format a gauge sample as one line, newline included."""
    # Six digits: no gauge is more exact, and lines stay short.
    values = {name: float(f"{value:.6g}") for name, value in sample.values.items()}
    return json.dumps({"time": round(sample.time, 3), "values": values}) + "\n"


def span_line(span: StepTimes | Span) -> str:
    """Format a step or a span as one line, newline included; empty fields are left out."""
    names = _FIELDS[type(span)]
    values = {name: _rounded(value) for name in names if (value := getattr(span, name)) not in ({}, None)}
    return json.dumps(values) + "\n"


def write_machine(folder: Path, machine: Machine) -> None:
    write_json(folder / "machine.json", machine.to_json())


def write_trace(folder: Path, trace: Trace) -> None:
    write_json(folder / "operators.json", asdict(trace))


def read_profile(folder: Path) -> Profile:
    """Read a run's `profile` folder, all ranks; an empty profile if there is no folder.

    A last line that a crash cut short is left out. Raises BadData if a file is damaged elsewhere.
    """
    try:
        return _read(folder)
    except BadData as error:
        fix = f"{error.fix} Remove {folder} to read the rest of the run."
        raise BadData(error.what, error.problem, fix=fix) from None


def _read(folder: Path) -> Profile:
    machine = folder / "machine.json"
    gauges = [
        read_record(GaugeSample, {**line, "rank": rank}, str(path))
        for rank, path in _ranks(folder, "gauges")
        for line in read_jsonl(path)
    ]
    steps: list[StepTimes] = []
    spans: list[Span] = []
    for rank, path in _ranks(folder, "spans"):
        for line in read_jsonl(path):
            if "name" in line:
                spans.append(read_record(Span, {**line, "rank": rank}, str(path)))
            else:
                steps.append(_step(line, rank, str(path)))
    known = Machine.from_json(read_json(machine), str(machine)) if machine.is_file() else None
    return Profile(known, gauges, steps, spans, _trace(folder))


def rewind(folder: Path, step: int, rank: int = 0) -> None:
    """Drop a rank's steps after `step`, where a resumed run continues. Gauge samples and spans stay."""
    path = spans_file(folder, rank)
    if path.exists():
        lines = [line for line in read_jsonl(path) if "name" in line or line["step"] <= step]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _ranks(folder: Path, stem: str) -> Iterator[tuple[int, Path]]:
    for path in sorted(folder.glob(f"{stem}*.jsonl")):
        if match := re.fullmatch(rf"{stem}(?:\.(\d+))?\.jsonl", path.name):
            yield int(match[1] or 0), path


def _step(line: Mapping[str, Any], rank: int, source: str) -> StepTimes:
    values = {**line, "rank": rank}
    if isinstance(line.get("load"), dict):
        values["load"] = {_OLD_LOAD_KEYS.get(name, name): value for name, value in line["load"].items()}
    return read_record(StepTimes, values, source)


def _trace(folder: Path) -> Trace | None:
    path = folder / "operators.json"
    if not path.is_file():
        return None
    return read_record(Trace, read_json(path), str(path))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DECIMALS)
    if isinstance(value, Mapping):
        return {name: _rounded(inner) for name, inner in value.items()}
    return value
