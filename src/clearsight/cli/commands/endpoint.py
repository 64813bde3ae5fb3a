"""clearsight endpoint: logs, another model, the one before, other shares, another number of workers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from clearsight.cli.commands.deploy import model_sources, share_text, worker_range
from clearsight.cli.shared import AsJson, command_app
from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.format import several
from clearsight.core.safe_text import printable_line
from clearsight.workflow.display.terminal import Terminal

EPILOG = """Actions: logs, update, rollback, scale, weights. None of them loses a request.

Examples:
  clearsight endpoint logs dogs --follow
  clearsight endpoint update dogs runs/second
  clearsight endpoint rollback dogs
  clearsight endpoint scale dogs --workers 2
  clearsight endpoint weights dogs --share b=0.5
"""
ACTIONS = ("logs", "update", "rollback", "scale", "weights")


def endpoint(
    action: Annotated[str, typer.Argument(help=", ".join(ACTIONS), show_default=False)],
    name: Annotated[str, typer.Argument(help="name of the endpoint", show_default=False)],
    model: Annotated[Path | None, typer.Argument(help="run or bundle, of an update", show_default=False)] = None,
    workers: Annotated[str | None, typer.Option(help="of scale: a number, or auto")] = None,
    min_workers: Annotated[int | None, typer.Option(help="of a number that follows the load", min=1)] = None,
    max_workers: Annotated[int | None, typer.Option(help="of a number that follows the load", min=1)] = None,
    variant: Annotated[
        list[str] | None, typer.Option(metavar="NAME=MODEL:SHARE", help="of update, as of clearsight deploy")
    ] = None,
    shadow: Annotated[list[str] | None, typer.Option(metavar="NAME=MODEL", help="of update, likewise")] = None,
    entry_point: Annotated[str, typer.Option(metavar="FILE", help="of update, likewise")] = "",
    trust: Annotated[bool, typer.Option("--trust", help="of update, likewise")] = False,
    share: Annotated[
        list[str] | None, typer.Option(metavar="NAME=SHARE", help="of weights: part of the requests for a variant")
    ] = None,
    lines: Annotated[int, typer.Option(help="of the log", min=0)] = 50,
    follow: Annotated[bool, typer.Option("--follow", help="print lines as they come, until Ctrl-C")] = False,
    as_json: AsJson = False,
) -> int:
    """Read the log of an endpoint, give it another model or the one before, other shares, or other workers."""
    from clearsight.workflow.deployment import deploy
    from clearsight.workflow.paths import Paths

    home, terminal = Paths.of(os.environ).home, Terminal(as_json=as_json)
    if action not in ACTIONS:
        raise BadChoice(f"action {action}", "there is no such action", got=action, allowed=ACTIONS)
    if (action == "update") != (model is not None):
        problem = "update needs a run or bundle" if action == "update" else f"{action} takes no model"
        raise BadValue(f"clearsight endpoint {action}", problem)
    if action == "logs":
        for line in deploy.log_lines(name, lines, home=home, follow=follow):
            print(printable_line(line), flush=follow)
        return 0
    if model is not None:
        sources = model_sources(variant, shadow)
        found = deploy.update(
            name, model, home=home, variants=sources, entry_point=entry_point, environment=dict(os.environ), trust=trust
        )
    elif action == "rollback":
        found = deploy.rollback(name, home=home)
    elif action == "weights":
        found = deploy.weigh(name, shares(share), home=home)
    else:
        if workers is None and min_workers is None and max_workers is None:
            raise BadValue("clearsight endpoint scale", "it needs --workers, or --min-workers and --max-workers")
        count = workers or str(min_workers or max_workers)
        found = deploy.scale(name, worker_range(count, min_workers, max_workers), home=home)
    text = [
        f"serving  {found.model}, version {found.version}, on {found.url} with {several(found.workers, 'worker')}",
        *(f"         {status.name}: {status.model}, {share_text(status.share)}" for status in found.variants),
    ]
    terminal.print_result(found.to_json(), text)
    return 0


def shares(texts: list[str] | None) -> dict[str, float]:
    """Return what --share says. Raises BadValue for text that is no NAME=NUMBER."""
    if not texts:
        raise BadValue("clearsight endpoint weights", "it needs --share NAME=SHARE")
    found = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            raise BadValue(f"--share {text}", "must be NAME=SHARE, such as b=0.5") from None
    return found


app = command_app(endpoint, EPILOG)
