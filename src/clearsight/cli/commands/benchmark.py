"""clearsight benchmark: which runtime of a model is the fastest on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from clearsight.cli.shared import AsJson, Model, command_app
from clearsight.workflow.display.terminal import Terminal

EPILOG = """Each runtime is measured in a process of its own. The fastest for one image that has passed the gate is
recorded for this machine, and clearsight serve uses it.

Examples:
  clearsight benchmark runs/first
  clearsight benchmark runs/first --images new-photos/ --seconds 10 --json
"""


def benchmark(
    model: Model,
    images: Annotated[
        Path | None,
        typer.Option(help="labelled images for the accuracy \\[default: the validation images of the training]"),
    ] = None,
    seconds: Annotated[float, typer.Option(help="seconds of measurement for each runtime")] = 4.0,
    trust: Annotated[
        bool, typer.Option("--trust", help="also run the program of torch-export in the bundle: it is code")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Measure the runtimes and exported models of a model here: latency, images/s, memory, accuracy, start-up."""
    from clearsight.workflow.deployment.benchmark import benchmark as measure
    from clearsight.workflow.paths import Paths

    terminal = Terminal(as_json=as_json)
    with terminal.working():
        result = measure(
            model,
            images=images,
            seconds=seconds,
            trust=trust,
            paths=Paths.of(os.environ),
            progress=terminal.progress,
        )
    terminal.print_result(result.to_json(), result.lines())
    return 0


app = command_app(benchmark, EPILOG)
