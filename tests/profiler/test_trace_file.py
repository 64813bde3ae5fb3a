"""write_trace_file: a trace that Perfetto opens, no larger than allowed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from clearsight.profiler.trace_file import write_trace_file

NAMES = [{"ph": "M", "name": "thread_name", "pid": 1, "tid": tid, "args": {"name": f"thread {tid}"}} for tid in (1, 2)]


def trace(events: int) -> dict[str, Any]:
    """Return events of 1, 2, ... microseconds in a mixed order, each with an instant."""
    entries: list[dict[str, Any]] = list(NAMES)
    for number in range(events):
        us = 1 + number * 7 % events
        entries.append({"ph": "X", "name": f"aten::op{us}", "pid": 1, "tid": 1, "ts": number * 100, "dur": us})
        entries.append({"ph": "i", "name": "[memory]", "pid": 1, "tid": 1, "ts": number * 100})
    return {"schemaVersion": 1, "displayTimeUnit": "ms", "traceEvents": entries}


def written(folder: Path, whole: dict[str, Any], cap_bytes: int) -> tuple[bytes, int]:
    source, target = folder / "trace.json", folder / "out" / "trace.json.gz"
    source.write_text(json.dumps(whole))
    left_out = write_trace_file(source, target, cap_bytes)
    return gzip.decompress(target.read_bytes()), left_out


def test_a_trace_that_fits_is_unchanged(tmp_path: Path) -> None:
    text, left_out = written(tmp_path, trace(100), 1 << 20)
    assert json.loads(text) == trace(100)
    assert left_out == 0


@pytest.mark.parametrize("cap_bytes", [8_000, 20_000, 60_000])
def test_above_the_cap_the_shortest_events_are_left_out_and_counted(tmp_path: Path, cap_bytes: int) -> None:
    text, left_out = written(tmp_path, trace(500), cap_bytes)
    loaded = json.loads(text)
    assert len(text) <= cap_bytes
    timed = [event for event in loaded["traceEvents"] if event["ph"] != "M"]
    assert left_out == 1000 - len(timed) > 0
    assert loaded["otherData"]["events_left_out"] == left_out
    longest = loaded["otherData"]["longest_left_out_us"]
    assert all(event.get("dur", 0) >= longest for event in timed)
    assert [event for event in loaded["traceEvents"] if event["ph"] == "M"] == NAMES
    assert [event["ts"] for event in timed] == sorted(event["ts"] for event in timed)
    assert loaded["schemaVersion"] == 1


def test_under_a_tiny_cap_only_names_remain(tmp_path: Path) -> None:
    text, left_out = written(tmp_path, trace(500), 100)
    assert json.loads(text)["traceEvents"] == NAMES
    assert left_out == 1000


def test_a_source_that_is_no_trace_leaves_no_file(tmp_path: Path) -> None:
    source = tmp_path / "trace.json"
    source.write_text("not a trace at all")
    with pytest.raises(ValueError, match="Expecting value"):
        write_trace_file(source, tmp_path / "trace.json.gz", 4)
    assert list(tmp_path.iterdir()) == [source]
