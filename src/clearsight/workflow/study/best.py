"""The best trial of a study: found by validation images, made into a model, measured once on the test split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clearsight.core.files import write_text
from clearsight.core.run import Run
from clearsight.core.study import Study
from clearsight.core.trial import Trial, best_trial
from clearsight.tuning.runner import StudyRunner
from clearsight.workflow.study.tasks import TrialTasks


def deliver_best(study: Study, trials: Sequence[Trial], conductor: StudyRunner, tasks: TrialTasks) -> str:
    """Make and measure the model of the best trial, and note it in the study with its recipe in best.yaml.

    Returns why that failed, or ""; nothing is done where no trial is complete or the model is there already.
    """
    best = best_trial(trials, study.aim)
    if best is None:
        study.best = {}
        return ""
    first = next(t for t in trials if t.number == best.same_as) if best.same_as is not None else best
    run = study.folder(first.number) / "run"
    study.best = {
        "trial": best.number,
        "value": best.values[0],
        "values": list(best.values),
        "params": dict(best.params),
        "run": str(run),
    }
    write_text(study.path / "best.yaml", tasks.recipe(best).to_yaml())
    study.save()
    if (run / "run.json").is_file() and Run.open(run).has_bundle:
        return ""
    failed = conductor.carry_out(lambda key: tasks.delivery(first, key))
    return f"the model of trial {first.number} could not be made: {failed}" if failed else ""


def best_run(study: Study) -> Run | None:
    """The run of the best trial; None where there is no such run."""
    if not study.best:
        return None
    path = study.path / "trials" / Path(study.best["run"]).parent.name / "run"  # wherever the study has been moved to
    return Run.open(path) if (path / "run.json").is_file() else None
