"""clearsight doctor: whether this machine is ready."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from clearsight.cli.shared import AsJson, command_app
from clearsight.workflow.display.terminal import Terminal

_GIB = 2**30


def doctor(as_json: AsJson = False) -> int:
    """Check this machine: versions, devices, threads, disk, shared memory, extras, weights; advice for each problem."""
    from clearsight.workflow.doctor import doctor as check
    from clearsight.workflow.paths import Paths

    result = check(Paths.of(os.environ), Path.cwd(), os.environ.get("OMP_NUM_THREADS")).to_json()
    Terminal(as_json=as_json).print_result(result, doctor_lines(result))
    return 0


def doctor_lines(result: dict[str, Any]) -> list[str]:
    """Return the check for people. result: docs/json.md describes it."""
    memory, disk, threads = result["memory"], result["disk"], result["threads"]
    shared = "none" if result["shared_memory"] is None else f"{result['shared_memory'] / _GIB:.1f} GiB free"
    width = max(map(len, result["extras"]))
    extras = [
        f"{name:<{width}}  {version or 'not installed'}  {result['purposes'][name]}"
        + ("" if version else f"; pip install 'clearsight[{name}]'")
        for name, version in result["extras"].items()
    ]
    weights = [
        f"{place['folder']}: {', '.join(place['files']) or ('empty' if place['exists'] else 'does not exist')}"
        for place in result["weights"]
    ]
    return [
        f"versions  {', '.join(f'{name} {version}' for name, version in result['versions'].items())}",
        f"machine   {result['hardware']['processor']}, {result['hardware']['system']}",
        f"devices   {', '.join(result['devices'])}",
        f"threads   torch uses {threads['torch']} on {threads['cores']} cores",
        f"memory    {memory['available'] / _GIB:.1f} of {memory['total'] / _GIB:.1f} GiB free",
        f"disk      {disk['here'] / _GIB:.1f} GiB free in this folder, {disk['cache'] / _GIB:.1f} in the cache",
        f"shared    {shared}",
        *(f"extra     {line}" for line in extras),
        f"cache     {result['cache']}",
        *(f"weights   {line}" for line in weights),
        *(f"{name:<9} {sentence}" for name, sentence in result["checks"].items()),
        *(f"advice    {line}" for line in result["advice"] or ["none: this machine is ready."]),
    ]


app = command_app(doctor, "Example:\n  clearsight doctor --json")
