"""clearsight train: from a dataset to a model."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from clearsight.cli.remote import On, RemoteOptions, check_unused, goes_elsewhere, print_remote, submission
from clearsight.cli.setting_flags import with_recipe_flags
from clearsight.cli.shared import AsJson, ResumedRun, Trust, check_resume_alone, command_app
from clearsight.core.errors import BadValue
from clearsight.core.events import NullObserver, RunStatus
from clearsight.core.recipe import fields
from clearsight.core.run import Run
from clearsight.workflow.display.terminal import Terminal, TrainingView

EPILOG = """Examples:
  clearsight train photos/ --model resnet34 --freeze backbone --epochs 5
  clearsight train photos.zip -m timm/mobilenetv2_100 --weights w.safetensors --augment standard
  clearsight train train.csv --label-column breed --recipe recipe.yaml --lr 3e-4 --json
  clearsight train --resume last
  clearsight train moved/photos/ --resume runs/photos-1
  clearsight train --resume runs/photos-1 --epochs 40
  clearsight train photos/ --on sagemaker --remote instance_type=ml.g5.xlarge
  torchrun --nproc-per-node 2 -m clearsight train photos/ --out runs/two
"""

_EXIT_CODES = {RunStatus.INTERRUPTED: 130, RunStatus.DIVERGED: 1, RunStatus.FAILED: 1}


def train(
    data: Annotated[str | None, typer.Argument(help="folder, archive, table or HDF5 file", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(help="new run folder \\[default: runs/<data>-<n>]")] = None,
    recipe: Annotated[Path | None, typer.Option(help="YAML file with settings, which flags override")] = None,
    resume: ResumedRun = None,
    accept_replaced: Annotated[
        bool, typer.Option("--accept-replaced", help="with --resume: go on although images have another content")
    ] = False,
    trust: Trust = False,
    on: On = "",
    remote: RemoteOptions = None,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> int:
    """Train a classifier: check the data, train, measure once on the test images, write the model and a report."""
    from clearsight.workflow.messages import end_lines
    from clearsight.workflow.paths import Paths, new_folder
    from clearsight.workflow.run.context import LaunchContext, visible_gpus, world_of
    from clearsight.workflow.train import RESUMABLE
    from clearsight.workflow.train import resume as resume_run
    from clearsight.workflow.train import train as train_run

    if goes_elsewhere(on, remote):
        check_unused({"--resume": resume, "--accept-replaced": accept_replaced}, on)
        with submission(on, data, out, remote, trust=trust, recipe=recipe, settings=settings) as submitted:
            terminal = Terminal(as_json=as_json)
            return print_remote(terminal, submitted.train(terminal.print))
    terminal, end = Terminal(as_json=as_json, outlives_reader=True), _End()
    # Without data there is no run to make a folder for.
    place = resume or out or (Path("runs") if data is None else None)
    with new_folder(place, "runs", data or ".", "run") as folder, terminal.working(), _end_shown(terminal, end, folder):
        launch = LaunchContext(
            observers=[TrainingView(terminal), end],
            paths=Paths.of(os.environ),
            world=world_of(os.environ),
            progress=terminal.progress,
            command=["clearsight", *sys.argv[1:]],
            visible=visible_gpus(os.environ),
            trusted=None if trust else (),
        )
        if resume is not None:
            arguments: dict[str, object] = {"--out": out, "--recipe": recipe}
            arguments |= {"--" + name.replace("_", "-"): True for name in settings if name not in RESUMABLE}
            allowed = ["--" + name.replace("_", "-") for name in (*RESUMABLE, "accept_replaced")]
            check_resume_alone("a run continues with its own recipe", arguments, ["DATA, if it was moved", *allowed])
            run = resume_run(resume, data=data, launch=launch, accept_replaced=accept_replaced, **settings)
        elif accept_replaced:
            raise BadValue("--accept-replaced", "it belongs to --resume", fix="Leave it out, or pass --resume RUN.")
        elif data is None:
            raise BadValue("clearsight train", "no data", fix="For example: clearsight train photos/.")
        else:
            if out is None and launch.world.size > 1:  # each process would choose a folder of its own
                raise BadValue("torchrun", "several processes need one run folder", fix="Pass --out.")
            run = train_run(data, out=folder, recipe=recipe, launch=launch, **settings)
    if launch.world.leads:  # with torchrun each process comes here, and one of them prints
        terminal.print(*end_lines(run))
        if as_json:
            terminal.print_json(to_json(run))
    return _EXIT_CODES.get(run.status, 0)


class _End(NullObserver):
    """Notes that a run has ended, and how."""

    vital = False
    status: RunStatus | None = None

    def on_end(self, status: RunStatus, reason: str) -> None:
        self.status = status


@contextmanager
def _end_shown(terminal: Terminal, end: _End, folder: Path) -> Iterator[None]:
    """Print the report and the next commands of a run that an error ends, before the error is printed."""
    try:
        yield
    except BaseException:
        # A run that had not begun has no end; the folder may hold an older one.
        if end.status is not None:
            from clearsight.workflow.messages import end_lines

            terminal.print(*end_lines(Run.open(folder)))
        raise


def to_json(run: Run) -> dict[str, Any]:
    """Return the shape of `clearsight train --json`."""
    from dataclasses import asdict

    from clearsight.core.finding import read_findings
    from clearsight.core.judge import root_findings

    findings = read_findings(run.files.findings)
    return {
        "run": str(run.path),
        "status": run.status.value,
        "reason": run.reason,
        "best_epoch": run.best_epoch,
        "valid": run.scores.get("valid"),
        "test": run.scores.get("test"),
        "seconds": run.seconds,
        "images_per_second": run.images_per_second,
        "calibration": run.calibration or None,
        "failed_steps": run.failed_steps,
        "findings": [
            {"rule": f.rule, "severity": f.severity.value, "cause": f.cause, "fix": dict(f.fix), "advice": f.advice}
            for f in root_findings(findings)
        ],
        "resolved": [{"rule": f.rule, **asdict(f.resolved)} for f in findings if f.resolved is not None],
    }


# The settings that most runs need; --help-all has all of them.
_ESSENTIAL = (
    *("model", "weights", "freeze", "epochs", "lr", "batch_size", "image_size", "augment"),
    *("device", "time_limit", "out", "recipe", "resume", "on", "as_json"),
)

app = command_app(with_recipe_flags(train, [name for _, name, _ in fields()]), EPILOG, essential=_ESSENTIAL)
