"""TuningController: the thread that runs all tuning jobs: it creates training jobs, and reacts to how they end.

Everything it knows is in the row of the tuning job. A training job is in that row before it is created, so that a kill
at any moment neither loses nor doubles one; stopping and ending are repeated until they are done.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from clearsight.core.errors import ClearsightError
from clearsight_sagemaker.jobs.queue import ACTIVE
from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.resources.training_jobs import create_child_job
from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.state.service_state import TRAINING_JOB, TUNING_JOB, ServiceState
from clearsight_sagemaker.tuning.child import ChildEnd, TuningChild
from clearsight_sagemaker.tuning.completion import TuningEnd, early_end, final_end
from clearsight_sagemaker.tuning.curves import ObjectiveCurves
from clearsight_sagemaker.tuning.stop_reasons import stop_reason
from clearsight_sagemaker.tuning.tuning_job import IN_PROGRESS, TuningJob

LOG = logging.getLogger("clearsight.sagemaker")

_ACTIVE_SECONDS = 0.2  # between two rounds while tuning jobs run
_IDLE_SECONDS = 5.0
_ENDED = ("Completed", "Failed", "Stopped")
# What a search may raise on values that it cannot use; the tuning job fails, and the others go on.
_SEARCH_ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, ClearsightError)


class SearchFailed(Exception):
    """Raised for a search that proposes nothing more because of an error."""


class TuningController:
    """Runs the tuning jobs of a service."""

    def __init__(self, state: ServiceState) -> None:
        self._state = state
        self._curves = ObjectiveCurves(state.training_jobs)
        self._offsets: dict[str, int] = {}  # bytes of the events of running training jobs that were judged
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tuning jobs", daemon=True)

    def start(self) -> None:
        """Start to follow the table."""
        self._thread.start()

    def close(self) -> None:
        """Follow no more; training jobs go on."""
        self._stopped.set()
        self._state.tuning_changed.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._state.tuning_changed.clear()
            try:
                active = self.do_round()
            except (OSError, SQLAlchemyError, ClearsightError) as error:  # a full disk, a database that does not answer
                LOG.error("tuning jobs: %s", error)
                active = False
            self._state.tuning_changed.wait(_ACTIVE_SECONDS if active else _IDLE_SECONDS)

    def do_round(self) -> bool:
        """Do what is to be done now; return True while there are tuning jobs that have not ended."""
        resources = self._state.table.every(TUNING_JOB, *IN_PROGRESS)
        for resource in resources:
            self._advance(TuningJob(resource))
        return bool(resources)

    def _advance(self, job: TuningJob) -> None:
        job = self._with_ends(job)
        end = self._end_of(job)
        if end is None:
            job = self._stop_weak(job)
            try:
                job, is_exhausted = self._fill(job)
            except SearchFailed as error:
                self._end_later(job, TuningEnd(status="Failed", cause="the search failed", reason=str(error)[:1024]))
                return
            is_over = is_exhausted or len(job.children) >= job.limits["MaxNumberOfTrainingJobs"]
            if is_over and not job.running:
                self._finish(job, final_end(job))
        elif job.running:
            self._stop_all(job, end)
        else:
            self._finish(job, end)

    def _with_ends(self, job: TuningJob) -> TuningJob:
        """Return the job with the training jobs that have ended since the last round, and save it."""
        before = job
        for child in job.running:
            end = self._child_end(job, child) if child.is_created else None
            if end is not None:
                self._offsets.pop(child.name, None)
                job = job.changed(replace(child, end=end))
        return job if job is before else self._save(job)

    def _child_end(self, job: TuningJob, child: TuningChild) -> ChildEnd | None:
        row = self._state.table.get(TRAINING_JOB, child.name)
        if row is None:  # deleted by the user as soon as it had ended
            return ChildEnd(status="Stopped", created=job.resource.created, ended=time.time())
        if row.status in ACTIVE:
            row = self._state.training_jobs.record(row)
        if row.status not in _ENDED:
            return None
        progress, facts = self._state.training_jobs.progress(child.name), row.document["state"]
        value = progress.metrics.get(job.definition(child).metric)
        return ChildEnd(
            status=row.status,
            value=value[0] if value is not None else None,
            created=row.created,
            started=facts.get("started"),
            ended=facts.get("ended"),
            reason=progress.reason if row.status == "Failed" else "",
        )

    def _end_of(self, job: TuningJob) -> TuningEnd | None:
        """Return how a job ends that is to end, and save that; None to go on."""
        if job.resource.status == "Stopping":
            return TuningEnd(status="Stopped", cause="the tuning job was stopped")
        ending = job.resource.document.get("ending")
        if ending is not None:
            return TuningEnd(**ending)
        end = early_end(job, time.time())
        if end is not None:
            self._end_later(job, end)
        return end

    def _end_later(self, job: TuningJob, end: TuningEnd) -> None:
        """Save how a job ends once its training jobs have ended."""
        self._save(job, ending={"status": end.status, "cause": end.cause, "reason": end.reason})

    def _stop_weak(self, job: TuningJob) -> TuningJob:
        """Stop training jobs early that have a reason for it; return the job."""
        for child in job.running:
            if not child.is_created:
                continue
            reason = child.stop_reason or self._new_reason(job, child)
            if reason:
                job = self._stop(job, child, reason)
        return job

    def _new_reason(self, job: TuningJob, child: TuningChild) -> str:
        """Return why a training job should stop; "" also where it has written nothing since the last round."""
        progress = self._state.training_jobs.progress(child.name)
        if self._offsets.get(child.name) == progress.offset:
            return ""
        self._offsets[child.name] = progress.offset
        return stop_reason(job, child, self._curves, progress)

    def _stop_all(self, job: TuningJob, end: TuningEnd) -> None:
        for child in job.running:
            if child.is_created:
                job = self._stop(job, child, child.stop_reason or end.cause or "the tuning job ends")
            else:  # it was planned and never created
                now = time.time()
                stopped = ChildEnd(status="Stopped", created=now, ended=now)
                job = self._save(job.changed(replace(child, end=stopped)))

    def _stop(self, job: TuningJob, child: TuningChild, reason: str) -> TuningJob:
        if child.stop_reason != reason:
            job = self._save(job.changed(replace(child, stop_reason=reason)))
        row = self._state.table.get(TRAINING_JOB, child.name)
        if row is not None and self._state.training_jobs.record(row).status == "InProgress":
            self._state.training_jobs.stop(child.name, f"Stopping the training job: {reason}")
        return job

    def _fill(self, job: TuningJob) -> tuple[TuningJob, bool]:
        """Create training jobs up to the limits; return the job, and True once every combination has been tried."""
        for child in job.running:
            if not child.is_created:  # the service was killed in between, or had too many training jobs
                job = self._create(job, child)
        limits = job.limits
        while (
            len(job.running) < limits["MaxParallelTrainingJobs"]
            and len(job.children) < limits["MaxNumberOfTrainingJobs"]
        ):
            if any(not child.is_created for child in job.running):
                break
            planned = _planned(job)
            if planned is None:
                return job, True
            job = self._create(self._save(job.changed(planned)), planned)
        return job, False

    def _create(self, job: TuningJob, child: TuningChild) -> TuningJob:
        request = job.definition(child).training_request(child.name, child.tuned, job.resource.tags)
        try:
            create_child_job(self._state, request, job.resource.document["arn"])
        except ServiceError as error:
            if error.code == "ResourceLimitExceeded":
                return job  # a later round tries again
            now = time.time()
            end = ChildEnd(status="Failed", created=now, ended=now, reason=error.message)
            return self._save(job.changed(replace(child, end=end)))
        return self._save(job.changed(replace(child, is_created=True)))

    def _finish(self, job: TuningJob, end: TuningEnd) -> None:
        final = final_end(job) if end.status == "Completed" else end
        facts = {"ended": time.time(), "reason": final.reason, "cause": end.cause}
        self._save(job, status=final.status, **facts)

    def _save(self, job: TuningJob, *, status: str = "", **facts: Any) -> TuningJob:
        """Save the training jobs of a tuning job and further facts; return the job as it is now."""
        children = job.resource.document["children"]

        def changed(row: Resource) -> Resource:
            document = {**row.document, "children": children, **facts}
            return replace(row, document=document, status=status or row.status, modified=time.time())

        saved = self._state.table.change(TUNING_JOB, job.resource.name, changed)
        return TuningJob(saved or job.resource)


def _planned(job: TuningJob) -> TuningChild | None:
    """Return the training job that comes next; raises SearchFailed."""
    try:
        return job.next_child()
    except _SEARCH_ERRORS as error:
        LOG.exception("the tuning job %s", job.resource.name)
        raise SearchFailed(f"InternalServerError: the search failed: {type(error).__name__}: {error}") from None


@contextmanager
def tuning_controller(state: ServiceState) -> Iterator[None]:
    """Run the tuning jobs of a service within the block."""
    controller = TuningController(state)
    controller.start()
    try:
        yield
    finally:
        controller.close()
