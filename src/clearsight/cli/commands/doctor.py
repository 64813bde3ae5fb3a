"""clearsight doctor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from clearsight.cli.shared import AsJson
from clearsight.cli.terminal import Terminal


def doctor(
    as_json: AsJson = False,
) -> int:
    """Check this machine: versions, devices, threads, disk, shared memory, extras, weights; advice for each problem."""
    from clearsight.workflow.doctor import doctor as check
    from clearsight.workflow.paths import Paths

    found = check(Paths.of(os.environ), Path.cwd(), os.environ.get("OMP_NUM_THREADS")).to_json()
    terminal = Terminal(as_json=as_json)
    if as_json:
        terminal.result(found)
    else:
        terminal.say(*checkup_lines(found))
    return 0


def checkup_lines(found: dict[str, Any]) -> list[str]:
    """A check-up for people."""
    gib = 2**30
    shared = "none" if found["shared_memory"] is None else f"{found['shared_memory'] / gib:.1f} GiB free"
    extras = ", ".join(f"{name} {'yes' if version else 'no'}" for name, version in found["extras"].items())
    weights = [
        f"{place['folder']}: {', '.join(place['files']) or ('empty' if place['exists'] else 'not there')}"
        for place in found["weights"]
    ]
    return [
        f"versions  {', '.join(f'{name} {version}' for name, version in found['versions'].items())}",
        f"machine   {found['hardware']['processor']}, {found['hardware']['system']}",
        f"devices   {', '.join(found['devices'])}",
        f"threads   {found['threads']['torch']} of torch on {found['threads']['cores']} cores",
        f"memory    {found['memory']['available'] / gib:.1f} of {found['memory']['total'] / gib:.1f} GiB free",
        f"disk      {found['disk']['here'] / gib:.1f} GiB free here, {found['disk']['cache'] / gib:.1f} in the cache",
        f"shared    {shared}",
        f"extras    {extras}",
        f"cache     {found['cache']}",
        *(f"weights   {line}" for line in weights),
        *(f"advice    {line}" for line in found["advice"] or ["none: this machine is ready."]),
    ]


app = typer.Typer(add_completion=False, rich_markup_mode="rich")
app.command(epilog="Example:\n\n  clearsight doctor --json")(doctor)
