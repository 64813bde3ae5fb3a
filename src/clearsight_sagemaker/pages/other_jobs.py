"""Pages of processing and transform jobs: status, log, what they read and write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from clearsight_sagemaker.cloud.log_lines import lines_before
from clearsight_sagemaker.resources import processing_jobs, transform_jobs
from clearsight_sagemaker.resources.job_kind import JobKind, job_status
from clearsight_sagemaker.resources.processing_jobs import PROCESSING
from clearsight_sagemaker.resources.transform_jobs import TRANSFORM
from clearsight_sagemaker.state.resource_table import ResourceQuery
from clearsight_sagemaker.state.service_state import ServiceState

_JOBS = 20  # of a kind on the overview
_SHOWN_LOG, _MOST_LOG = 64 << 10, 4 << 20  # bytes on the page of a job, and of its log alone
_DESCRIPTIONS: Mapping[JobKind, Callable[..., dict[str, Any]]] = {
    PROCESSING: processing_jobs.describe,
    TRANSFORM: transform_jobs.describe,
}


@dataclass(frozen=True, slots=True)
class OtherJobPages:
    """Pages of the jobs that are no training jobs. render: takes a template and its values.  headers: of a text."""

    state: ServiceState
    prefix: str
    render: Callable[[str, Mapping[str, Any]], Response]
    headers: Mapping[str, str]

    def routes(self) -> list[Route]:
        """Return the routes of all kinds."""
        return [route for kind in _DESCRIPTIONS for route in self._routes(kind)]

    def rows(self) -> list[dict[str, Any]]:
        """Return what the overview shows: the newest jobs of each kind."""
        rows = []
        for kind in _DESCRIPTIONS:
            kind.queue(self.state).refresh()
            jobs, _ = self.state.table.page(ResourceQuery(kind=kind.kind, descending=True, limit=_JOBS))
            rows += [
                {
                    "name": job.name,
                    "kind": kind.word,
                    "page": f"{self.prefix}{kind.kind}s/{job.name}",
                    "status": job_status(job),
                    "created": job.created,
                }
                for job in jobs
            ]
        return sorted(rows, key=lambda row: row["created"], reverse=True)

    def _routes(self, kind: JobKind) -> Iterator[Route]:
        async def page(request: Request) -> Response:
            return self.render("other_job.html", await run_in_threadpool(self._values, kind, _name(request)))

        async def log(request: Request) -> Response:
            lines = await run_in_threadpool(self._lines, kind, _name(request), _MOST_LOG)
            return PlainTextResponse("".join(f"{line}\n" for line in lines), headers=self.headers)

        async def stop(request: Request) -> Response:
            await run_in_threadpool(self._stop, kind, _name(request))
            return RedirectResponse(f"{self.prefix}{kind.kind}s/{_name(request)}", 303)

        path = f"{self.prefix}{kind.kind}s/{{name}}"
        yield Route(path, page)
        yield Route(f"{path}/log", log)
        yield Route(f"{path}/stop", stop, methods=["POST"])

    def _values(self, kind: JobKind, name: str) -> dict[str, Any]:
        self._check(kind, name)
        resource, progress = kind.find(self.state, name)
        start, end = progress.started, progress.finished
        return {
            "name": name,
            "kind": kind.word,
            "page": f"{self.prefix}{kind.kind}s/{name}",
            "status": progress.status,
            "seconds": end - start if start is not None and end is not None else None,
            "reason": progress.reason if progress.status == "Failed" else progress.exit_message,
            "created": resource.created,
            "is_live": not progress.ended,
            "log": self._lines(kind, name, _SHOWN_LOG),
            "settings": [*_settings(_DESCRIPTIONS[kind](resource, progress))],
            "links": [*_links(resource.document["request"])],
            "steps": progress.transitions,
        }

    def _lines(self, kind: JobKind, name: str, most: int) -> list[str]:
        self._check(kind, name)
        path = kind.queue(self.state).folder(name).log
        return [line.message for line in lines_before(path, None, most)] if path.exists() else []

    def _stop(self, kind: JobKind, name: str) -> None:
        self._check(kind, name)
        resource, _ = kind.find(self.state, name)
        if resource.status == "InProgress":
            kind.stop(self.state, name)

    def _check(self, kind: JobKind, name: str) -> None:
        if self.state.table.get(kind.kind, name) is None:
            raise HTTPException(404, f"There is no {kind.word} {name[:63]}.")


def _name(request: Request) -> str:
    return str(request.path_params["name"])


def _settings(description: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and value of what is worth a line."""
    application = description.get("AppSpecification", {})
    yield "Image", application.get("ImageUri", "")
    words = [*application.get("ContainerEntrypoint", []), *application.get("ContainerArguments", [])]
    yield "Command", " ".join(words)
    yield "Model", description.get("ModelName", "")
    for name in ("ContentType", "SplitType", "CompressionType"):
        yield name, description.get("TransformInput", {}).get(name, "")
    for name, value in description.get("Environment", {}).items():
        yield name, value


def _links(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a word and the S3 address of what a job reads and writes."""
    for entry in request.get("ProcessingInputs", []):
        yield f"input {entry['InputName']}", entry["S3Input"]["S3Uri"]
    for entry in request.get("ProcessingOutputConfig", {}).get("Outputs", []):
        yield f"output {entry['OutputName']}", entry["S3Output"]["S3Uri"].rstrip("/") + "/"
    if "TransformInput" in request:
        yield "input", request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
        yield "output", request["TransformOutput"]["S3OutputPath"].rstrip("/") + "/"
