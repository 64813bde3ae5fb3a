"""clearsight undeploy: the end of an endpoint."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from clearsight.cli.shared import command_app

EPILOG = """Examples:
  clearsight undeploy dogs
"""


def undeploy(name: Annotated[str, typer.Argument(help="name of the endpoint", show_default=False)]) -> int:
    """End an endpoint once its requests in progress are answered, and remove its files."""
    from clearsight.workflow.deployment.deploy import undeploy as end
    from clearsight.workflow.paths import Paths

    end(name, home=Paths.of(os.environ).home)
    print(f"{name} is removed")
    return 0


app = command_app(undeploy, EPILOG)
