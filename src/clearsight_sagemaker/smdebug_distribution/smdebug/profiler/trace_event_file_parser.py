"""Trace events: phases of a training loop, from timelines in Chrome's trace format.

Events of phase M name the processes (here: phases, such as `Step:ModeKeys.TRAIN`) and the start of the clock; X are
complete events; B and E begin and end one. Times are microseconds.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Iterable

from smdebug.exceptions import CorruptFile


@dataclass(frozen=True)
class TraceEvent:
    """A phase of the loop. start_time, end_time: microseconds since 1970.  event_phase: name of the phase."""

    start_time: float
    event_name: str
    duration: float
    event_args: dict[str, Any] | None
    node_id: str
    event_phase: str
    pid: int
    tid: int
    phase: str = "X"

    @property
    def end_time(self) -> float:
        return self.start_time + self.duration


def read_trace(content: bytes, node_id: str) -> list[TraceEvent]:
    """Return the events of a timeline; one that is still open at its end is read too. Raises CorruptFile."""
    text = content.decode("utf-8", errors="replace").strip()
    if text.startswith("[") and not text.endswith("]"):
        text = f"{text.rstrip(',')}]"
    try:
        parsed = json.loads(text or "[]")
        listed = parsed["traceEvents"] if isinstance(parsed, dict) else parsed
        return list(_events(listed, _plain_node(node_id)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFile(f"timeline of {node_id}: not a trace of Chrome's format ({error!r}).") from None


def _events(listed: Iterable[dict[str, Any]], node_id: str) -> Iterable[TraceEvent]:
    phases: dict[Any, str] = {}
    started: dict[Any, list[dict[str, Any]]] = {}
    clock = 0.0
    for item in listed:
        kind, args = item.get("ph"), item.get("args") or {}
        if kind == "M":
            clock = float(args.get("start_time_since_epoch_in_micros", clock))
            if item.get("name") == "process_name" and "name" in args:
                phases[item.get("pid")] = str(args["name"])
        elif kind == "X":
            yield _event(item, item, float(item["dur"]), phases, clock, node_id)
        elif kind == "B":
            started.setdefault(item.get("pid"), []).append(item)
        elif kind == "E" and started.get(item.get("pid")):
            begin = started[item.get("pid")].pop()
            yield _event(begin, item, float(item["ts"]) - float(begin["ts"]), phases, clock, node_id)


def _event(
    begin: dict[str, Any], end: dict[str, Any], duration: float, phases: dict[Any, str], clock: float, node_id: str
) -> TraceEvent:
    args = end.get("args")
    known = args or {}
    return TraceEvent(
        start_time=float(begin["ts"]) + clock,
        event_name=str(begin.get("name", "")),
        duration=duration,
        event_args=args,
        node_id=node_id,
        event_phase=phases.get(begin.get("pid"), "Unknown"),
        pid=known.get("pid", begin.get("pid", 0)),
        tid=known.get("thread_id", begin.get("tid", 0)),
    )


def _plain_node(node_id: str) -> str:
    """Return `algo-1-123` for `123-algo-1`: nodes sort by their name, then by process."""
    match = re.fullmatch(r"(.*)-(algo.*)", node_id)
    return f"{match[2]}-{match[1]}" if match else node_id
