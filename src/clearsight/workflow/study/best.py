"""Best trial of a study: chosen by its score on the validation split, made into a model, measured on the test split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clearsight.core.files import write_text
from clearsight.core.run import Run, RunFolder
from clearsight.core.stop import StopKind, StopReason
from clearsight.core.study import Study
from clearsight.core.trial import Trial, best_trial
from clearsight.tuning.runner import StudyRunner
from clearsight.tuning.storage.trial_folder import TrialFolder
from clearsight.workflow.study.tasks import TrialTasks


def deliver_best(study: Study, trials: Sequence[Trial], runner: StudyRunner, tasks: TrialTasks) -> StopReason | None:
    """Make and measure the model of the best trial; write the trial into the study and its recipe into best.yaml.

    Returns why the model could not be made, or None. Does nothing if no trial is complete or the model exists already.
    """
    best = best_trial(trials, study.objective)
    if best is None:
        study.best = {}
        return None
    # A duplicate has no run of its own: the model is that of the trial that was trained.
    trained = next(t for t in trials if t.number == best.same_as) if best.same_as is not None else best
    run_folder = TrialFolder(study.folder(trained.number)).run
    study.best = {
        "trial": best.number,
        "value": best.values[0],
        "values": list(best.values),
        "params": dict(best.params),
        "run": str(run_folder),
    }
    write_text(study.path / "best.yaml", tasks.recipe(best).to_yaml())
    study.save()  # before the model is made, which may take minutes or fail
    if RunFolder(run_folder).is_run and Run.open(run_folder).has_bundle:
        return None
    failure = runner.run_assignment(lambda key: tasks.delivery(trained, key))
    text = f"the model of trial {trained.number} could not be made: {failure}"
    return StopReason(StopKind.FAILURE, text) if failure else None


def best_run(study: Study) -> Run | None:
    """Return the run of the best trial; None if there is none."""
    if not study.best:
        return None
    # Found by the number of the trial, because the study folder may have moved since.
    path = study.path / "trials" / Path(study.best["run"]).parent.name / "run"
    return Run.open(path) if RunFolder(path).is_run else None
