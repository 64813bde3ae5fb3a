"""The study of a tuning job as clearsight has studies: trials with values that people read, importance, a folder."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clearsight.core.trial import Trial
from clearsight_sagemaker.jobs.queue import JobQueue
from clearsight_sagemaker.tuning.curves import ObjectiveCurves
from clearsight_sagemaker.tuning.definitions import search_space
from clearsight_sagemaker.tuning.tuning_job import IN_PROGRESS, TuningJob

if TYPE_CHECKING:
    from clearsight.workflow.study.external import ExternalStudy


def importances(job: TuningJob) -> dict[str, float]:
    """Return hyperparameter -> share of the objective's variance in [0, 1], the largest first; {} for too few jobs."""
    shares = _plain_study(job).importances(_plain_trials(job, None))
    return next(iter(shares.values()), {})


def write_study(job: TuningJob, queue: JobQueue, folder: Path) -> Path:
    """Write a study folder in place of what is in `folder`, and return its report.html."""
    name, resource = job.resource.name, job.resource
    seconds = resource.document.get("ended", time.time()) - resource.created
    trials = _plain_trials(job, ObjectiveCurves(queue))
    return _plain_study(job).write(folder, name, trials, seconds=seconds, is_running=resource.status in IN_PROGRESS)


def _plain_study(job: TuningJob) -> ExternalStudy:
    return replace(job.study, space=search_space(job.definitions, plain=True))


def _plain_trials(job: TuningJob, curves: ObjectiveCurves | None) -> list[Trial]:
    """Return the training jobs of the tuning job alone as trials. curves: of the objective, None to leave them out."""
    trials = []
    searched = [trial for trial in job.trials() if not trial.imported]
    for number, (child, trial) in enumerate(zip(job.children, searched, strict=True)):
        definition, end = job.definition(child), child.end
        value = end.value if end is not None and end.has_objective else None
        values = [] if curves is None else curves.curve(child.name, definition.metric, has_ended=end is not None)
        started = end.started or 0.0 if end is not None else 0.0
        trials.append(
            replace(
                trial,
                number=number,
                params=definition.plain(child.tuned),
                values=() if value is None else (value,),
                curve=dict(enumerate(values, 1)),
                reason=child.stop_reason or (end.reason if end is not None else ""),
                started=started,
                seconds=max(0.0, (end.ended or started) - started) if end is not None and started else 0.0,
            )
        )
    return trials
