"""clearsight tune: a search for the best settings of a recipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from clearsight.cli.messages import FAILURE, STOPPED, USER_ERROR
from clearsight.cli.remote import RemoteOptions, check_no_options, check_unused, print_remote, submission
from clearsight.cli.setting_flags import with_plan_flags, with_recipe_flags
from clearsight.cli.shared import AsJson, ResumedStudy, Trust, check_resume_alone, command_app
from clearsight.core.errors import BadValue
from clearsight.core.recipe import fields
from clearsight.core.settings import declared, flag
from clearsight.core.stop import StopKind
from clearsight.core.study import Study, StudyPlan, StudyStatus
from clearsight.core.trial import Trial, TrialState
from clearsight.core.yaml_file import read_yaml
from clearsight.workflow.display.terminal import Terminal

EPILOG = """A space is written NAME=log(A,B), NAME=float(A,B), NAME=int(A,B) or NAME=\\[A,B,C], if needed with
"when OTHER=VALUE" after it. Trials are compared on the validation images; the best one is measured
once on the test images.

Examples:
  clearsight tune photos/ --freeze backbone --tune lr,batch_size,weight_decay --trials 40
  clearsight tune photos/ -m resnet18 --space "lr=log(1e-5,1e-1)" --space "epochs=int(5,40)" --parallel 2 --prune asha
  clearsight tune photos/ --space "optimizer=\\[sgd,adamw]" --space "momentum=float(0.5,0.99) when optimizer=sgd"
  clearsight tune --resume studies/photos-1 --trials 80
  clearsight tune moved/photos/ --resume studies/photos-1
"""

_PLAN = declared(StudyPlan)


def tune(
    data: Annotated[str | None, typer.Argument(help="folder, archive, table or HDF5 file", show_default=False)] = None,
    tune: Annotated[
        str | None, typer.Option("--tune", metavar="A,B,...", help="vary these settings over their usual ranges")
    ] = None,
    space: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUES", help="vary a setting over these values")
    ] = None,
    space_file: Annotated[Path | None, typer.Option(metavar="YAML", help="file with a space")] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC[:DIRECTION]", help="compare trials by this; several give a front \\[default: --monitor]"
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="name of the study in a shared storage")] = None,
    out: Annotated[Path | None, typer.Option(help="new study folder \\[default: studies/<data>-<n>]")] = None,
    recipe: Annotated[Path | None, typer.Option(help="YAML file with the settings that all trials share")] = None,
    resume: ResumedStudy = None,
    trust: Trust = False,
    remote: RemoteOptions = None,
    as_json: AsJson = False,
    *,
    plan: dict[str, Any],
    settings: dict[str, Any],
) -> int:
    """Search for the best settings: train many trials, compute nothing twice, make a model of the best trial."""
    from clearsight.workflow.remote.submit import is_remote
    from clearsight.workflow.tune import resume_study
    from clearsight.workflow.tune import tune as tune_study

    terminal = Terminal(as_json=as_json, outlives_reader=True)
    if is_remote(on := str(plan.get("on") or "")):
        check_unused({"--resume": resume, "--name": name}, on)
        with submission(on, data, out, remote, trust=trust, recipe=recipe, settings=settings) as submitted:
            spaces = _space(space, space_file, submitted.trusted)
            search = {"space": spaces, "vary": _names(tune), "metric": metric or (), "plan": plan}
            return print_remote(terminal, submitted.tune(terminal.print, **search))
    check_no_options(remote)
    with launched(terminal, trust=trust) as launch:
        if resume is not None:
            arguments: dict[str, object] = {"--tune": tune, "--space": space, "--space-file": space_file}
            arguments |= {"--metric": metric, "--name": name, "--out": out, "--recipe": recipe}
            arguments |= {flag(name, _PLAN[name]): True for name in plan if name in StudyPlan.FIXED}
            arguments |= {"--" + name.replace("_", "-"): True for name in settings}
            allowed = [flag(name, info) for name, info in _PLAN.items() if name not in StudyPlan.FIXED]
            allowed.insert(0, "DATA, if it was moved")
            check_resume_alone("a study continues with its own recipe, space and search", arguments, allowed)
            study = resume_study(resume, data=data, launch=launch, **plan)
        elif data is None:
            raise BadValue("clearsight tune", "no data", fix="For example: clearsight tune photos/.")
        else:
            study = tune_study(
                data,
                space=_space(space, space_file, launch.trusted),
                vary=_names(tune),
                metric=list(metric or ()),
                out=out,
                name=name or "",
                recipe=recipe,
                launch=launch,
                **plan,
                **settings,
            )
    return _exit_code(study, _print_end(terminal, study))


def _names(text: str | None) -> list[str]:
    """Return the settings of --tune."""
    return [part.strip().replace("-", "_") for part in (text or "").split(",") if part.strip()]


def _exit_code(study: Study, trials: Sequence[Trial]) -> int:
    if study.status is not StudyStatus.FAILED:
        return STOPPED if study.status is StudyStatus.INTERRUPTED else 0
    failed = [trial for trial in trials if trial.state is TrialState.FAILED and not trial.imported]
    return USER_ERROR if all(trial.stop_kind is StopKind.MISTAKE for trial in failed) else FAILURE


def _print_end(terminal: Terminal, study: Study) -> Sequence[Trial]:
    """Print how a study ended, and return its trials."""
    from clearsight.workflow.display.study_view import end_lines
    from clearsight.workflow.open import open_study
    from clearsight.workflow.study.report import next_commands, study_json

    # From disk, since the trials of workers and other machines are there alone.
    saved = open_study(study.path, storage=study.plan.storage or None)
    run = saved.best_run
    test = run.scores.get("test") if run else None
    lines = end_lines(study, saved.savings(), next_commands(study), test)
    terminal.print_result(study_json(study, saved.trials), lines)
    return saved.trials


@contextmanager
def launched(terminal: Terminal, *, trust: bool) -> Iterator[Any]:
    """Yield the context of a study whose events are shown as a live table, as plain lines or as JSON lines."""
    from clearsight.workflow.display.study_view import study_view
    from clearsight.workflow.paths import Paths
    from clearsight.workflow.run.context import gpu_count
    from clearsight.workflow.study.lead import StudyContext

    view = study_view(terminal)
    with terminal.working(), closing(view):  # after an error too, whose sentence must not be drawn over
        yield StudyContext(
            observers=[view],
            paths=Paths.of(os.environ),
            progress=terminal.progress,
            command=["clearsight", *sys.argv[1:]],
            gpus=gpu_count(os.environ),
            trusted=None if trust else (),
        )


def _space(texts: list[str] | None, file: Path | None, trusted: Any) -> Any:
    """Return the space of --space or --space-file; None without either. trusted: code that the file may name."""
    if file is not None and texts:
        raise BadValue("--space and --space-file", "cannot be used together", fix="Keep one.")
    if file is None:
        return texts or None
    from clearsight.workflow.study.plan import check_space_file

    values = read_yaml(file)
    check_space_file(values, file, trusted)
    return values or None


# --time-limit is that of the study; a recipe's own stays unset in its trials.
_RECIPE = [name for _, name, _ in fields() if name not in _PLAN]

_ESSENTIAL = (
    *("tune", "space", "metric", "trials", "parallel", "time_limit", "searcher"),
    *("model", "weights", "freeze", "epochs", "out", "resume", "as_json"),
)

app = command_app(with_recipe_flags(with_plan_flags(tune), _RECIPE), EPILOG, essential=_ESSENTIAL)
