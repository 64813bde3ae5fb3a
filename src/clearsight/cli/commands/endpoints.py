"""clearsight endpoints: deployed models, their state, speed and errors."""

from __future__ import annotations

import os

from clearsight.cli.shared import AsJson, command_app
from clearsight.core.format import size
from clearsight.core.safe_text import printable_line
from clearsight.workflow.display.terminal import Terminal

EPILOG = """Latencies are those of all requests since the endpoint was deployed.

Examples:
  clearsight endpoints
  clearsight endpoints --json
"""
_HEADS = ("name", "status", "model", "url", "workers", "requests/s", "p50", "p99", "errors", "memory")


def endpoints(as_json: AsJson = False) -> int:
    """List endpoints: status, model, address, workers, requests per second, latencies, errors, memory."""
    from clearsight.workflow.deployment.endpoint_status import EndpointStatus
    from clearsight.workflow.deployment.endpoint_status import endpoints as list_endpoints
    from clearsight.workflow.paths import Paths

    terminal = Terminal(as_json=as_json)
    found = list_endpoints(home=Paths.of(os.environ).home)

    def row(status: EndpointStatus) -> tuple[str, ...]:
        milliseconds = [f"{1000 * value:.0f} ms" if status.requests else "" for value in (status.p50, status.p99)]
        numbers = (str(status.workers), f"{status.speed:.1f}", *milliseconds, str(status.errors), size(status.memory))
        return (status.name, status.status, f"{status.model} v{status.version}", status.url, *numbers)

    rows = [_HEADS, *map(row, found)]
    widths = [max(len(cells[place]) for cells in rows) for place in range(len(_HEADS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows]
    lines += [f"{status.name}: {status.reason}" for status in found if status.reason]
    lines += [f"{status.name}: drift: {status.drift}" for status in found if status.drift]
    for status in found:
        lines += [f"{status.name}/{variant.line()}" for variant in status.variants]
        lines += [
            f"{status.name}/{variant.name}: drift: {variant.drift}" for variant in status.variants if variant.drift
        ]
    if not found:
        lines = ["no endpoints; deploy one with: clearsight deploy RUN --name NAME"]
    terminal.print_result([status.to_json() for status in found], map(printable_line, lines))
    return 0


app = command_app(endpoints, EPILOG)
