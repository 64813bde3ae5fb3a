"""Trace file for Perfetto (ui.perfetto.dev) or chrome://tracing: gzipped JSON (Trace Event Format) of bounded size."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clearsight.core.files import atomic

_RESERVED = 4096  # bytes for the note about the events that were left out


def write_trace_file(source: Path, target: Path, cap_bytes: int) -> int:
    """Write the trace `source` (JSON) to `target` (.json.gz), whole or not at all. Return how many events are left out.

    cap_bytes: of uncompressed JSON. Above it the shortest events are left out until the rest fits; "otherData" then
    holds their number and the microseconds of the longest of them. Names of threads and processes stay.
    Raises OSError and DiskFull, and ValueError where `source` is not a trace.
    """
    with atomic(target, sync=False) as part:
        if source.stat().st_size <= cap_bytes:
            with source.open("rb") as file, gzip.open(part, "wb") as packed:
                shutil.copyfileobj(file, packed)
            return 0
        trace, left_out = _thinned(json.loads(source.read_bytes()), cap_bytes)
        with gzip.open(part, "wb") as packed:
            packed.write(trace)
        return left_out


def _thinned(trace: dict[str, Any], cap_bytes: int) -> tuple[bytes, int]:
    """Return the trace as JSON of at most `cap_bytes`, if names and frame fit, and the number of events left out."""
    events = trace["traceEvents"]
    texts = [json.dumps(event, separators=(",", ":")) for event in events]
    frame = {name: value for name, value in trace.items() if name != "traceEvents"}
    names = [at for at, event in enumerate(events) if event.get("ph") == "M"]
    room = cap_bytes - len(json.dumps(frame)) - sum(len(texts[at]) + 1 for at in names) - _RESERVED
    longest, left_out_us = _longest(events, texts, room)
    left_out = len(events) - len(names) - len(longest)
    frame["otherData"] = {
        **frame.get("otherData", {}),
        "events_left_out": left_out,
        "longest_left_out_us": left_out_us,
        "why": f"the trace was larger than {cap_bytes} bytes",
    }
    body = ",".join(texts[at] for at in sorted([*names, *longest]))
    # Joined by hand: the events are JSON already, and to encode them a second time doubles the time and the memory.
    head = json.dumps(frame, separators=(",", ":"))
    return f'{head[:-1]},"traceEvents":[{body}]}}'.encode(), left_out


def _longest(events: Sequence[Any], texts: Sequence[str], room: int) -> tuple[list[int], float]:
    """Return the places of the longest events that fit into `room` characters, and the microseconds of the next one.

    Instants and arrows count as events without a duration.
    """
    timed = [at for at, event in enumerate(events) if event.get("ph") != "M"]
    timed.sort(key=lambda at: float(events[at].get("dur", 0)), reverse=True)
    longest: list[int] = []
    for at in timed:
        room -= len(texts[at]) + 1
        if room < 0:
            return longest, float(events[at].get("dur", 0))
        longest.append(at)
    return longest, 0.0
