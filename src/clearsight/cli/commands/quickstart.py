"""clearsight quickstart: the whole workflow on handwritten digits."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearsight.cli.shared import command_app
from clearsight.core.run import Run
from clearsight.workflow.display.terminal import Terminal, TrainingView
from clearsight.workflow.display.text import audit_lines

if TYPE_CHECKING:
    from clearsight.workflow.audit import AuditResult
    from clearsight.workflow.quickstart import EndpointReply


def quickstart(
    out: Annotated[Path, typer.Option(help="folder for data, runs and the report")] = Path("quickstart"),
) -> int:
    """Run the whole workflow on handwritten digits: check the data, tune, train, evaluate, report, serve, predict."""
    from clearsight.workflow.paths import Paths
    from clearsight.workflow.quickstart import Steps
    from clearsight.workflow.quickstart import quickstart as run_all
    from clearsight.workflow.run.context import LaunchContext

    start, terminal = time.monotonic(), Terminal(as_json=False, outlives_reader=True)
    launch = LaunchContext(
        observers=[TrainingView(terminal)],
        paths=Paths.of(os.environ),
        progress=terminal.progress,
        command=["clearsight", "quickstart"],
    )
    view = _StepsView(terminal)
    steps = Steps(audited=view.audited, tried=view.tried, trained=view.trained, replied=view.replied)
    with terminal.working():
        run = run_all(out, steps, launch)
    terminal.print("", f"Done in {time.monotonic() - start:.0f} s. Now with your own images, one folder per class:")
    terminal.print("  clearsight data PHOTOS/", "  clearsight train PHOTOS/ --model tiny --weights none --epochs 10")
    terminal.print(f"  clearsight serve {run.path} --port 8080")
    return 0


class _StepsView:
    """Prints each step when it is done."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def audited(self, audited: AuditResult) -> None:
        lines = [f"   {line}" for line in audit_lines(audited.to_json())]
        self._terminal.print("1. the data", *lines, "2. three learning rates, two epochs each")

    def tried(self, settings: dict[str, Any], run: Run) -> None:
        text = ", ".join(f"{name} {value:g}" for name, value in settings.items())
        accuracy = (run.scores.get("valid") or {}).get("accuracy", float("nan"))
        self._terminal.print(f"   {text:<12} validation accuracy {accuracy:.4f}")

    def trained(self, run: Run) -> None:
        test, images = run.scores["test"], sum(run.data["counts"]["test"].values())
        self._terminal.print(
            f"3. trained: test accuracy {test['accuracy']:.4f} on {images} images, macro F1 {test['macro_f1']:.4f}",
            f"   report  {run.path / 'report.html'}",
        )

    def replied(self, url: str, reply: EndpointReply) -> None:
        response = reply.response
        self._terminal.print(
            f"4. served on {url}, request with {reply.image}",
            f"   predicted {response['label']} (probability {response['probability']:.3f}), true class {reply.truth}",
        )


app = command_app(quickstart, "Example:\n  clearsight quickstart --out quickstart")
