"""clearsight train."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from clearsight.cli.recipe_flags import with_recipe_flags
from clearsight.cli.shared import AsJson
from clearsight.cli.terminal import Terminal, TrainingView
from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.events import RunStatus
from clearsight.core.recipe import Recipe, fields
from clearsight.core.run import Run

EPILOG = """Examples:

  clearsight train photos/ --model resnet34 --freeze backbone --epochs 5

  clearsight train photos.zip --model timm/mobilenetv2_100 --weights w.safetensors --augment standard --epochs 20

  clearsight train train.csv --label-column breed --recipe recipe.yaml --lr 3e-4 --json

  clearsight train --resume runs/photos-1

  torchrun --nproc-per-node 2 -m clearsight train photos/ --out runs/two
"""

_EXIT = {RunStatus.INTERRUPTED: 130, RunStatus.DIVERGED: 1, RunStatus.FAILED: 1}


def train(
    data: Annotated[str | None, typer.Argument(help="folder, archive, table or HDF5 file", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(help="the run's own folder \\[default: runs/<data>-<n>]")] = None,
    recipe: Annotated[Path | None, typer.Option(help="YAML file with settings; flags win over it")] = None,
    resume: Annotated[Path | None, typer.Option(help="go on with the run in this folder")] = None,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> int:
    """Train a classifier: look at the data, plan, train, evaluate once on the test split, write bundle and report."""
    from clearsight.workflow.paths import Paths
    from clearsight.workflow.run.context import LaunchContext
    from clearsight.workflow.train import fit
    from clearsight.workflow.train import resume as go_on

    terminal = Terminal(as_json=as_json)
    with terminal.working():
        around = LaunchContext(
            observers=[TrainingView(terminal)],
            places=Paths.of(os.environ),
            world=_world(),
            progress=terminal.progress,
            command=["clearsight", *sys.argv[1:]],
            visible=_visible(os.environ.get("CUDA_VISIBLE_DEVICES")),
        )
        if resume is not None:
            _only_resume(data, out, recipe, settings)
            run = go_on(resume, around=around, time_limit=settings.get("time_limit"))
        elif data is None:
            raise BadValue("clearsight train", "say what to train on", fix="For example: clearsight train photos/.")
        else:
            chosen = Recipe.load(recipe) if recipe else Recipe()
            run = fit(data, out=out or _free(data), recipe=chosen, around=around, **settings)
    if around.world.leads:
        _show(run, terminal)
    return _EXIT.get(run.status, 0)


def _show(run: Run, terminal: Terminal) -> None:
    from clearsight.workflow.messages import end_lines

    terminal.say(*end_lines(run))
    if terminal.as_json:
        terminal.result(to_json(run))


def to_json(run: Run) -> dict[str, Any]:
    """The shape of `clearsight train --json`."""
    from clearsight.core.finding import read_findings
    from clearsight.core.judge import root_findings

    return {
        "run": str(run.path),
        "status": run.status.value,
        "reason": run.reason,
        "best_epoch": run.best_epoch,
        "valid": run.scores.get("valid"),
        "test": run.scores.get("test"),
        "seconds": run.seconds,
        "images_per_second": run.images_per_second,
        "findings": [
            {"rule": f.rule, "severity": f.severity.value, "cause": f.cause, "fix": dict(f.fix), "advice": f.advice}
            for f in root_findings(read_findings(run.path / "findings.jsonl"))
        ],
    }


def _only_resume(data: str | None, out: Path | None, recipe: Path | None, settings: dict[str, Any]) -> None:
    further = [*(["DATA"] if data else []), *(["--out"] if out else []), *(["--recipe"] if recipe else [])]
    further += ["--" + name.replace("_", "-") for name in settings if name != "time_limit"]
    if further:
        raise BadChoice(
            "--resume",
            f"a run goes on with its own recipe, so {', '.join(further)} cannot be said",
            allowed=["--time-limit"],
        )


def _world() -> Any:
    """This process's place among those that torchrun started; alone without torchrun."""
    from clearsight.training.distributed import World

    env = os.environ
    if "WORLD_SIZE" not in env or "RANK" not in env:
        return World()
    return World(rank=int(env["RANK"]), size=int(env["WORLD_SIZE"]), local_rank=int(env.get("LOCAL_RANK", "0")))


def _visible(said: str | None) -> list[str] | None:
    """The GPUs of CUDA_VISIBLE_DEVICES; None where it is not set."""
    return None if said is None else [word.strip() for word in said.split(",") if word.strip()]


def _free(data: str) -> Path:
    """runs/<data>-<n> with the first n that is free. Under torchrun all processes must be told --out."""
    if "WORLD_SIZE" in os.environ and int(os.environ["WORLD_SIZE"]) > 1:
        raise BadValue("torchrun", "several processes need one run folder", fix="Pass --out.")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(data).expanduser().resolve().name.split(".")[0]).strip("-") or "run"
    number = 1
    while (Path("runs") / f"{name}-{number}").exists():
        number += 1
    return Path("runs") / f"{name}-{number}"


app = typer.Typer(add_completion=False, rich_markup_mode="rich")
app.command(epilog=EPILOG)(with_recipe_flags(train, [name for _, name, _ in fields()]))
