"""clearsight models: the networks that --model takes."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from clearsight.cli.shared import AsJson, Device, command_app
from clearsight.workflow.display.terminal import Terminal

EPILOG = """Parameters include the classifier of the pretrained weights. "train" is the speed when the whole network
trains, "head only" with --freeze backbone, before features are cached.

Examples:
  clearsight models 'resnet*'
  clearsight models timm/vit --limit 5 --measure
  clearsight models --all --json
"""


def models(
    pattern: Annotated[str, typer.Argument(help="part of a name, or a pattern such as 'resnet*'")] = "*",
    limit: Annotated[int, typer.Option(help="models that are listed", min=1)] = 20,
    everything: Annotated[bool, typer.Option("--all", help="list all; slow at first, facts are cached")] = False,
    measure: Annotated[bool, typer.Option("--measure", help="time a few steps of each on this machine")] = False,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> int:
    """List networks by name: parameters, input, licence, whether weights are on disk, and speed on this machine."""
    from clearsight.workflow.models import models as list_models
    from clearsight.workflow.paths import Paths

    terminal = Terminal(as_json=as_json)
    with terminal.working():
        found = list_models(
            pattern,
            limit=None if everything else limit,
            measure=measure,
            device=device,
            paths=Paths.of(os.environ),
            progress=terminal.progress,
        )
    terminal.print_result(found.to_json(), found.lines())
    return 0


app = command_app(models, EPILOG)
