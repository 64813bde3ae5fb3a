"""clearsight quickstart."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearsight.cli.commands.data import audit_lines
from clearsight.cli.terminal import Terminal, TrainingView
from clearsight.core.run import Run

if TYPE_CHECKING:
    from clearsight.workflow.audit import AuditResult
    from clearsight.workflow.quickstart import EndpointReply


def quickstart(
    out: Annotated[Path, typer.Option(help="folder for data, runs and the report")] = Path("quickstart"),
) -> int:
    """The whole main job on handwritten digits: look, tune, train, evaluate, report, serve, ask, stop."""
    from clearsight.workflow.paths import Paths
    from clearsight.workflow.quickstart import Steps
    from clearsight.workflow.quickstart import quickstart as run_all
    from clearsight.workflow.run.context import LaunchContext

    began, terminal = time.monotonic(), Terminal(as_json=False)
    around = LaunchContext(
        observers=[TrainingView(terminal)],
        places=Paths.of(os.environ),
        progress=terminal.progress,
        command=["clearsight", "quickstart"],
    )
    show = _Story(terminal)
    with terminal.working():
        run = run_all(
            out, Steps(looked=show.looked, tried=show.tried, trained=show.trained, answered=show.answered), around
        )
    terminal.say("", f"done in {time.monotonic() - began:.0f} s. Now with your own images, one folder per class:")
    terminal.say("  clearsight data PHOTOS/", "  clearsight train PHOTOS/ --model tiny --weights none --epochs 10")
    terminal.say(f"  clearsight serve {run.path} --port 8080")
    return 0


class _Story:
    """Tells each step as it is done."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def looked(self, audited: AuditResult) -> None:
        self._terminal.say(
            "1. the data", *_indent(audit_lines(audited.to_json())), "2. a few settings, two epochs each"
        )

    def tried(self, settings: dict[str, Any], run: Run) -> None:
        named = ", ".join(f"{name} {value:g}" for name, value in settings.items())
        accuracy = (run.scores.get("valid") or {}).get("accuracy", float("nan"))
        self._terminal.say(f"   {named:<12} valid accuracy {accuracy:.4f}")

    def trained(self, run: Run) -> None:
        test, count = run.scores["test"], sum(run.data["counts"]["test"].values())
        self._terminal.say(
            f"3. trained: test accuracy {test['accuracy']:.4f} on {count} images, macro F1 {test['macro_f1']:.4f}",
            f"   report  {run.path / 'report.html'}",
        )

    def answered(self, url: str, answer: EndpointReply) -> None:
        response = answer.response
        self._terminal.say(
            f"4. served on {url}, asked about {answer.image}",
            f"   it says {response['label']} ({response['probability']:.3f}); it shows a {answer.truth}",
        )


def _indent(lines: list[str]) -> list[str]:
    return [f"   {line}" for line in lines]


app = typer.Typer(add_completion=False, rich_markup_mode="rich")
app.command(epilog="Example:\n\n  clearsight quickstart --out quickstart")(quickstart)
