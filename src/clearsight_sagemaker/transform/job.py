"""TransformSequence: a batch transform job from its first to its last event."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadValue
from clearsight.core.files import read_json
from clearsight_sagemaker.hosting.job_model import job_model
from clearsight_sagemaker.training.environment import UserEnvironment
from clearsight_sagemaker.training.failure import (
    JobFailed,
    StopRequested,
    client_error,
    errors_as_failure,
    internal_error,
)
from clearsight_sagemaker.training.processes.job_context import STOP_SECONDS, JobContext, job_context
from clearsight_sagemaker.training.processes.namespaces import NamespaceSupport
from clearsight_sagemaker.transform.transformer import RequestSettings, Transformer, transform_sources

_SEE_LOG = "See job logs for more information"


def run_transform_job(path: Path, user: UserEnvironment, *, support: NamespaceSupport | None = None) -> str:
    """Run the job of a folder to its end and return its status: Completed, Failed or Stopped.

    For a job that has ended, nothing is done; one that was cut short fails, and the results that it had written stay.
    support: how the model sees /opt/ml, found out where it is None. Raises ClearsightError where the folder holds no
    job, or another process runs it.
    """
    with job_context(path, user, stop_seconds=STOP_SECONDS, support=support) as context:
        ended = [event["status"] for event in context.events.previous if event["kind"] == "finished"]
        return str(ended[-1]) if ended else TransformSequence(context).run()


class TransformSequence:
    """A transform job with its events. `run` returns when the last one is written."""

    def __init__(self, context: JobContext) -> None:
        self._context, self._events, self._request = context, context.events, context.request

    def run(self) -> str:
        """Run the job to its end and return its status."""
        try:
            with errors_as_failure(self._context.folder.path):
                self._transform()
            self._events.status("Completed", "Transform job completed")
            status = "Completed"
        except StopRequested:
            self._events.status("Stopping", "Stopping the transform job")
            self._events.status("Stopped", "Transform job stopped")
            status = "Stopped"
        except JobFailed as failure:
            self._context.log.write(failure.reason)
            self._events.append("failed", reason=failure.reason, exit_code=failure.exit_code)
            self._events.status("Failed", failure.reason)
            status = "Failed"
        self._events.append("finished", status=status)
        return status

    def _transform(self) -> None:
        """Send all records to the model and write the results. Raises JobFailed, StopRequested."""
        context = self._context
        if any(event.get("secondary") in ("Downloading", "Transforming") for event in self._events.previous):
            raise internal_error("the process that ran the job ended before the job.")
        context.check_stop()
        settings = self._settings()
        context.log.write(settings.sentence)
        self._events.status("Downloading", "Downloading the model")
        context.objects.check_bucket(self._request["TransformOutput"]["S3OutputPath"])
        sources = transform_sources(self._request, context.objects)
        with ExitStack() as stack:
            server = stack.enter_context(job_model(context, self._model(), context.check_stop))
            self._events.status("Transforming", "Transform in progress")
            transformer = Transformer(server, context.objects, settings, context.log.write, context.check_stop)
            transformer.run(sources)
        failed = [source for source in sources if source.problem]
        context.log.write(f"{len(sources) - len(failed)} of {len(sources)} objects have a result.")
        if failed:
            raise client_error(_SEE_LOG)

    def _settings(self) -> RequestSettings:
        try:
            return RequestSettings.of(self._request)
        except BadValue as error:
            raise client_error(str(error)) from None

    def _model(self) -> Mapping[str, Any]:
        """Return the model as it was when the job was created, with the variables of the job."""
        model: dict[str, Any] = read_json(self._context.folder.path / "service.json")["model"]
        container = model["PrimaryContainer"]
        environment = {**(container.get("Environment") or {}), **(self._request.get("Environment") or {})}
        instance = self._request["TransformResources"]["InstanceType"]
        return {**model, "PrimaryContainer": {**container, "Environment": environment}, "InstanceType": instance}
