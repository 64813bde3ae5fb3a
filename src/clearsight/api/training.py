"""train, tune and resume from Python: the same verbs as on the command line, with the same output."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from clearsight.api.settings import RecipeSettings, TuneSettings
from clearsight.api.signature import named_settings, names_of, path_of, texts_of, with_settings
from clearsight.core.errors import BadValue
from clearsight.core.recipe import Recipe
from clearsight.core.space import Space
from clearsight.core.study import Study

if TYPE_CHECKING:  # they load torch or Rich, which completion of these names must not wait for
    from clearsight.workflow.display.notebook import Show
    from clearsight.workflow.display.terminal import Terminal
    from clearsight.workflow.results.run import TrainedRun
    from clearsight.workflow.results.study import TunedStudy
    from clearsight.workflow.run.context import LaunchContext
    from clearsight.workflow.study.lead import StudyContext


@with_settings(RecipeSettings)
def train(
    data: str | Path,
    *,
    out: str | Path | None = None,
    recipe: Recipe | str | Path | None = None,
    progress: Show = "auto",
    trust: bool = False,
    launch: LaunchContext | None = None,
    **settings: Unpack[RecipeSettings],
) -> TrainedRun:
    """Train on the dataset at `data`; return the run, whose status says how it ended.

    out: new run folder, by default runs/<data>-<n>.  recipe: a Recipe or a YAML file.  progress: True shows the plan,
    the epochs and the result as the command does, False nothing; "auto" shows them in a terminal and in Jupyter.
    trust: run the rule files and notices that the recipe file names; they are code.
    launch: the circumstances of the run, where a program chooses them itself.  settings: override the recipe; text is
    read as after a flag (`head="750,500,250"`, `time_limit="10m"`).
    An interrupt ends the training after the step; `clearsight.resume` continues it.
    Mistakes of the user are raised as ClearsightError before a run folder exists.
    """
    from clearsight.workflow.display.notebook import output_of
    from clearsight.workflow.paths import new_folder
    from clearsight.workflow.train import train as train_run

    output, values = output_of(progress), named_settings(settings)
    with output.working():
        context = _run_context(output, launch, trust=trust)
        if out is None and context.world.size > 1:  # each process would choose a folder of its own
            raise BadValue("out=None", "several processes need one run folder", fix="Pass out=.")
        with new_folder(out, "runs", data, "run") as folder:
            run = train_run(data, out=folder, recipe=recipe, launch=context, **values)
    return _shown_run(output, run)


@with_settings(TuneSettings)
def tune(
    data: str | Path,
    *,
    tune: str | Iterable[str] = (),
    space: Mapping[str, Any] | str | Iterable[str] | Space | None = None,
    metric: str | Iterable[str] = (),
    out: str | Path | None = None,
    name: str = "",
    recipe: Recipe | str | Path | None = None,
    progress: Show = "auto",
    trust: bool = False,
    launch: StudyContext | None = None,
    vary: str | Iterable[str] = (),
    **settings: Unpack[TuneSettings],
) -> TunedStudy:
    """Search for the best settings on the dataset at `data`, and make a model of the best trial; return the study.

    tune: settings to vary over their usual ranges, "lr,batch_size" or a list; `vary` is its former name.
    space: {"lr": "log(1e-5,1e-1)", "batch_size": [16, 32]}, text as after --space, or a Space.  metric: one objective
    or several, "accuracy" or "loss:minimize".  out: new study folder, by default studies/<data>-<n>.  name: of the
    study in a shared storage.  recipe, progress, trust, launch: as in `train`.  settings: of the study and its recipe.
    Mistakes of the user are raised as ClearsightError before a study folder exists.
    """
    from clearsight.workflow.display.notebook import output_of
    from clearsight.workflow.tune import tune as tune_study

    output, values = output_of(progress), named_settings(settings)

    def work(context: StudyContext) -> Study:
        return tune_study(
            data,
            space=space,
            vary=[*names_of(tune), *names_of(vary)],
            metric=texts_of(metric),
            out=out,
            name=name,
            recipe=recipe,
            launch=context,
            **values,
        )

    return _shown_study(output, launch, work, trust=trust)


def resume(
    run: str | Path | TrainedRun | TunedStudy,
    *,
    data: str | Path | None = None,
    accept_replaced: bool = False,
    progress: Show = "auto",
    trust: bool = False,
    launch: LaunchContext | StudyContext | None = None,
    **changes: Any,
) -> TrainedRun | TunedStudy:
    """Continue a run or a study that was interrupted: its folder, or what `train` and `tune` returned.

    data: where the dataset is now, if it was moved.  accept_replaced: of a run, go on although images have another
    content than when it began.  changes: of a run `time_limit` and `epochs`; of a study any setting of its plan that is
    not fixed (`trials=40`).  progress, launch: as in `train`.
    trust: run the rule files and notices that its recipe names; they are code.
    Raises NotFound where there is neither, NotResumable when it cannot go on.
    """
    from clearsight.workflow.display.notebook import output_of

    folder, output, values = path_of(run, "runs", "studies"), output_of(progress), named_settings(changes)
    if Study.exists(folder):
        if accept_replaced:
            raise BadValue("accept_replaced=True", "images of a study cannot be replaced", fix="Leave it out.")
        from clearsight.workflow.tune import resume_study

        def work(context: StudyContext) -> Study:
            return resume_study(folder, data=data, launch=context, **values)

        return _shown_study(output, launch, work, trust=trust)
    from clearsight.workflow.train import RESUMABLE
    from clearsight.workflow.train import resume as resume_run

    unknown = [name for name in values if name not in RESUMABLE]
    if unknown:
        problem = "a run continues with its own recipe"
        raise BadValue(f"resume({', '.join(unknown)})", problem, fix=f"Only {' and '.join(RESUMABLE)} can be given.")
    with output.working():
        resumed = resume_run(
            folder,
            data=data,
            launch=_run_context(output, cast("LaunchContext | None", launch), trust=trust),
            accept_replaced=accept_replaced,
            **values,
        )
    return _shown_run(output, resumed)


def _run_context(output: Terminal, launch: LaunchContext | None, *, trust: bool) -> LaunchContext:
    """Return the context of a run whose events go to the output; of a given one with its own observers first."""
    from clearsight.workflow.display.terminal import TrainingView
    from clearsight.workflow.paths import Paths
    from clearsight.workflow.run.context import LaunchContext, visible_gpus, world_of

    if launch is not None:
        trusted = None if trust else launch.trusted
        return replace(launch, observers=[*launch.observers, TrainingView(output)], trusted=trusted)
    return LaunchContext(
        observers=[TrainingView(output)],
        paths=Paths.of(os.environ),
        world=world_of(os.environ),
        progress=output.progress,
        visible=visible_gpus(os.environ),
        trusted=None if trust else (),
    )


def _shown_run(output: Terminal, run: Any) -> TrainedRun:
    from clearsight.workflow.messages import end_lines
    from clearsight.workflow.results.run import TrainedRun
    from clearsight.workflow.run.context import world_of

    if world_of(os.environ).leads:  # with torchrun one process of several shows the end
        output.print(*end_lines(run))
    return TrainedRun.of(run)


def _shown_study(output: Terminal, launch: Any, work: Any, *, trust: bool) -> TunedStudy:
    """Return the study that `work` has made in a context whose events go to the output."""
    from clearsight.workflow.display.study_view import end_lines, study_view
    from clearsight.workflow.open import open_study
    from clearsight.workflow.paths import Paths
    from clearsight.workflow.results.study import TunedStudy
    from clearsight.workflow.run.context import gpu_count
    from clearsight.workflow.study.lead import StudyContext
    from clearsight.workflow.study.report import next_commands

    view = study_view(output)
    given = launch or StudyContext(paths=Paths.of(os.environ), progress=output.progress, gpus=gpu_count(os.environ))
    with output.working(), closing(view):  # after an error too, whose text must not be drawn over
        trusted = None if trust else given.trusted
        study = work(replace(given, observers=[*given.observers, view], trusted=trusted))
    # From disk, since the trials of workers and other machines are there alone.
    saved = open_study(study.path, storage=study.plan.storage or None)
    run = saved.best_run
    output.print(*end_lines(study, saved.savings(), next_commands(study), run.scores.get("test") if run else None))
    return TunedStudy.of(study)
