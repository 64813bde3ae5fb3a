"""clearsight tune."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearsight.cli.recipe_flags import seconds, with_recipe_flags
from clearsight.cli.shared import AsJson
from clearsight.cli.terminal import Terminal
from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.recipe import Recipe, fields, read_yaml

if TYPE_CHECKING:
    from clearsight.core.study import Study, StudyObserver

EPILOG = """A space is written NAME=log(A,B), NAME=float(A,B), NAME=int(A,B) or NAME=\\[A,B,C], perhaps with
"when OTHER=VALUE" behind it. Trials are compared on the validation images; the test images are looked at once,
with the best. Ctrl-C leaves a study that --resume goes on with.

Examples:

  clearsight tune photos/ --freeze backbone --tune lr,batch_size,weight_decay --trials 40

  clearsight tune photos/ -m resnet18 --space "lr=log(1e-5,1e-1)" --space "epochs=int(5,40)" --parallel 2 --prune asha

  clearsight tune photos/ --space "optimizer=\\[sgd,adamw]" --space "momentum=float(0.5,0.99) when optimizer=sgd"

  clearsight tune photos/ --metric accuracy --metric parameters --space "model=\\[resnet18,resnet34,tiny]"

  clearsight tune --resume studies/photos-1 --trials 80
"""

_RESUMED = (
    *("--trials", "--parallel", "--time-limit", "--target", "--stop-after", "--epoch-budget", "--prune", "--stack"),
    *("--keep", "--on", "--cpus-per-trial", "--gpus-per-trial"),
)
_OWN = ("time_limit",)  # recipe fields that mean the study here

TimeLimit = Annotated[str | None, typer.Option(metavar="TIME", help="end after so many seconds (also 90s, 10m, 2h)")]


def tune(
    data: Annotated[str | None, typer.Argument(help="folder, archive, table or HDF5 file", show_default=False)] = None,
    tune: Annotated[
        str | None, typer.Option("--tune", metavar="A,B,...", help="vary these settings over their usual ranges")
    ] = None,
    space: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUES", help="vary a setting over these values")
    ] = None,
    space_file: Annotated[Path | None, typer.Option(metavar="YAML", help="file with a space")] = None,
    trials: Annotated[int | None, typer.Option(help="how many in all \\[default: 20, or all of a grid]")] = None,
    parallel: Annotated[int | None, typer.Option(help="trials at a time \\[default: 1]")] = None,
    time_limit: TimeLimit = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC[:WAY]", help="what to aim at, several for a front \\[default: --monitor]"),
    ] = None,
    search: Annotated[
        str | None, typer.Option(help="tpe, gp, random, grid, qmc, cmaes, nsga2, asha, hyperband \\[default: tpe]")
    ] = None,
    prune: Annotated[
        str | None, typer.Option(help="median, asha, hyperband, none \\[default: what goes with the search]")
    ] = None,
    target: Annotated[float | None, typer.Option(help="end when the metric reaches this")] = None,
    stop_after: Annotated[
        int | None, typer.Option(metavar="N", help="end when N trials in a row brought nothing better")
    ] = None,
    epoch_budget: Annotated[
        int | None, typer.Option(metavar="N", help="end after N epochs over all trials; pruned ones are not charged")
    ] = None,
    stack: Annotated[int | None, typer.Option(help="heads trained together at most \\[default: 10]")] = None,
    keep: Annotated[int | None, typer.Option(help="best trials whose weights stay on disk \\[default: 1]")] = None,
    warm_start: Annotated[
        list[str] | None, typer.Option(metavar="STUDY", help="learn from an earlier study: folder, or URL#NAME")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="Optuna storage that several machines may share")
    ] = None,
    name: Annotated[str | None, typer.Option(help="of the study in a shared storage")] = None,
    on: Annotated[str | None, typer.Option(metavar="local|ray|ray://HOST:PORT", help="where trials run")] = None,
    cpus_per_trial: Annotated[float | None, typer.Option(help="on a cluster")] = None,
    gpus_per_trial: Annotated[float | None, typer.Option(help="on a cluster")] = None,
    out: Annotated[Path | None, typer.Option(help="the study's own folder \\[default: studies/<data>-<n>]")] = None,
    recipe: Annotated[Path | None, typer.Option(help="YAML file with settings that are varied")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="STUDY", help="go on with the study in this folder")] = None,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> int:
    """Search the settings of a recipe: many trials, nothing computed twice, the best made into a model."""
    from clearsight.tuning.trial_store import read_trials
    from clearsight.workflow.study.report import study_json
    from clearsight.workflow.tune import resume_study
    from clearsight.workflow.tune import tune as search_settings

    plan = {
        "trials": trials,
        "parallel": parallel,
        "time_limit": seconds(time_limit) if time_limit is not None else None,
        "searcher": search,
        "pruner": prune,
        "target": target,
        "stop_after": stop_after,
        "epoch_budget": epoch_budget,
        "stack": stack,
        "keep": keep,
        "storage": storage,
        "on": on,
        "cpus_per_trial": cpus_per_trial,
        "gpus_per_trial": gpus_per_trial,
    }
    said = {key: value for key, value in plan.items() if value is not None}
    terminal = Terminal(as_json=as_json)
    with watched(terminal) as around:
        if resume is not None:
            kept = {"--metric": metric, "--search": search, "--warm-start": warm_start, "--storage": storage}
            own = {"--out": out, "--recipe": recipe, "--tune": tune, "--space": space, "--space-file": space_file}
            _only_resume({"DATA": data, **own, **kept, "--name": name}, settings)
            study = resume_study(resume, around=around, **said)
        elif data is None:
            raise BadValue("DATA", "say what to train on", fix="For example: clearsight tune photos/.")
        else:
            words: Any = read_yaml(space_file) if space_file else list(space or ())
            if space_file and space:
                raise BadValue("--space-file", "it cannot be said beside --space", fix="Put all of it into the file.")
            study = search_settings(
                data,
                space=words or None,
                vary=[one.strip().replace("-", "_") for one in (tune or "").split(",") if one.strip()],
                metric=list(metric or ()),
                out=out,
                name=name or "",
                recipe=Recipe.load(recipe) if recipe else None,
                around=around,
                **{**said, "warm_start": tuple(warm_start or ())},
                **settings,
            )
    trials_now = read_trials(study)
    if as_json:
        terminal.result(study_json(study, trials_now))
    else:
        _show(study, terminal, trials_now)
    return _exit(study)


@contextmanager
def watched(terminal: Terminal) -> Iterator[Any]:
    """The circumstances of a study with who looks on: a live table, plain lines, or JSON lines."""
    from rich.console import Console

    from clearsight.cli.study_view import StudyEvents, StudyLines, StudyTable
    from clearsight.workflow.paths import Paths
    from clearsight.workflow.tune import StudyContext

    table = None
    view: StudyObserver
    if terminal.as_json:
        view = StudyEvents()
    elif sys.stdout.isatty():
        view = table = StudyTable(Console())
    else:
        view = StudyLines(terminal)
    with terminal.working():
        try:
            yield StudyContext(
                observers=[view],
                places=Paths.of(os.environ),
                progress=terminal.progress,
                command=["clearsight", *sys.argv[1:]],
                gpus=_gpus(),
            )
        finally:
            if table is not None:
                table.close()


def _show(study: Study, terminal: Terminal, trials: Any) -> None:
    from clearsight.cli.study_view import end_lines
    from clearsight.tuning.analysis.savings import study_savings
    from clearsight.workflow.study.best import best_run
    from clearsight.workflow.study.report import next_commands

    run = best_run(study)
    test = run.scores.get("test") if run else None
    terminal.say(*end_lines(study, study_savings(trials), next_commands(study), test))


def _exit(study: Study) -> int:
    from clearsight.core.study import StudyStatus

    return {StudyStatus.INTERRUPTED: 130, StudyStatus.FAILED: 2}.get(study.status, 0)


def _only_resume(said: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise BadChoice for what was said and belongs to the beginning of a study."""
    further = [flag for flag, value in said.items() if value]
    further += ["--" + name.replace("_", "-") for name in settings]
    if further:
        raise BadChoice(
            "--resume",
            f"a study goes on with its own recipe, space and search, so {', '.join(further)} cannot be said",
            allowed=_RESUMED,
        )


def _gpus() -> int:
    """GPUs that workers may share, as the driver tells; 0 without one."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([one for one in visible.split(",") if one.strip() and one.strip() != "-1"])
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0  # no driver, or no GPU behind it
    try:
        return int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()


app = typer.Typer(add_completion=False, rich_markup_mode="rich")
app.command(epilog=EPILOG)(with_recipe_flags(tune, [name for _, name, _ in fields() if name not in _OWN]))
