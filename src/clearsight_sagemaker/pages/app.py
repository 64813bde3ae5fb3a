"""ASGI application of the pages. They are rendered here; a short script asks for them again while a job runs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from clearsight.core.format import duration, file_size
from clearsight_sagemaker.cloud.log_lines import lines_before
from clearsight_sagemaker.pages.bucket_page import bucket_values, page_of
from clearsight_sagemaker.pages.endpoint_page import EndpointPages, endpoint_rows
from clearsight_sagemaker.pages.job_page import job_page
from clearsight_sagemaker.pages.other_jobs import OtherJobPages
from clearsight_sagemaker.pages.tuning_page import TuningPages, short_number
from clearsight_sagemaker.resources.training_jobs import stop_training_job
from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.s3.store import ObjectStore
from clearsight_sagemaker.state.resource_table import Resource, ResourceQuery
from clearsight_sagemaker.state.service_state import TRAINING_JOB, ServiceState

PREFIX = "/_clearsight/"  # no bucket has a name like this
_JOBS = 50  # on a page
_MOST_LOG = 4 << 20  # bytes of a log that a browser gets
_FILES = {"style.css": "text/css", "live.js": "text/javascript", "endpoint.js": "text/javascript"}
# Nothing from elsewhere, and no script or style but those of the service: names of jobs and keys are other people's.
_POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
_POLICY += "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
_HEADERS = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def is_page(request: Request) -> bool:
    """Return True for what a browser asks for: a page, and not a list of buckets for a client of S3."""
    if request.url.path.startswith(PREFIX):
        return True
    is_browser = "text/html" in request.headers.get("accept", "") and "authorization" not in request.headers
    return request.url.path == "/" and request.method in ("GET", "HEAD") and is_browser and not request.url.query


def build_pages(state: ServiceState, store: ObjectStore) -> Starlette:
    """Return the application of the pages."""
    pages = _Pages(state, store)
    routes = [
        *EndpointPages(state, PREFIX, pages.render).routes,
        Route("/", pages.overview),
        Route(f"{PREFIX}jobs", pages.overview),
        Route(f"{PREFIX}jobs/{{name}}", pages.job),
        Route(f"{PREFIX}jobs/{{name}}/log", pages.log),
        Route(f"{PREFIX}jobs/{{name}}/stop", pages.stop, methods=["POST"]),
        *pages.tuning.routes(PREFIX),
        *pages.other_jobs.routes(),
        Route(f"{PREFIX}buckets/{{bucket}}", pages.bucket),
        *(Route(f"{PREFIX}{name}", pages.file) for name in _FILES),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: pages.problem})


class _Pages:
    """Handlers of the routes."""

    def __init__(self, state: ServiceState, store: ObjectStore) -> None:
        self._state, self._store = state, store
        self.tuning = TuningPages(state, self.render)
        self.other_jobs = OtherJobPages(state, PREFIX, self.render, _HEADERS)
        self._environment = Environment(
            loader=PackageLoader("clearsight_sagemaker", "templates/pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["page_of"] = page_of
        self._environment.filters |= {
            "moment": _moment,
            "duration": duration,
            "size": file_size,
            "short_number": short_number,
        }

    async def overview(self, request: Request) -> Response:
        """All jobs, the newest first, and all buckets."""
        query = ResourceQuery(
            kind=TRAINING_JOB,
            name_contains=request.query_params.get("name", "")[:63],
            descending=True,
            limit=_JOBS,
            token=request.query_params.get("after", ""),
        )

        def read() -> dict[str, Any]:
            self._state.training_jobs.refresh()
            jobs, after = self._state.page(query)
            disk = shutil.disk_usage(self._state.home.folder)
            return {
                "jobs": [self._row(job) for job in jobs],
                "tuning_jobs": self.tuning.rows(),
                "after": after,
                "other_jobs": self.other_jobs.rows(),
                "name": query.name_contains,
                "endpoints": endpoint_rows(self._state),
                "buckets": [] if self._state.s3_endpoint else self._store.buckets(),
                "s3_endpoint": self._state.s3_endpoint,
                "free": disk.free,
                "is_live": True,  # a job may begin at any time
            }

        return self.render("overview.html", await run_in_threadpool(read))

    async def job(self, request: Request) -> Response:
        """One job: status, metrics, rules, the end of its log, its settings."""
        resource = await self._resource(request)
        return self.render("job.html", await run_in_threadpool(job_page, self._state, resource))

    async def log(self, request: Request) -> Response:
        """The log of a job as text, at most its last megabytes."""
        resource = await self._resource(request)
        path = self._state.training_jobs.folder(resource.name).log

        def read() -> str:
            return "".join(f"{line.message}\n" for line in lines_before(path, None, _MOST_LOG)) if path.exists() else ""

        return PlainTextResponse(await run_in_threadpool(read), headers=_HEADERS)

    async def stop(self, request: Request) -> Response:
        """Stop a job that has not ended."""
        resource = await self._resource(request)
        if resource.status == "InProgress":
            await run_in_threadpool(stop_training_job, self._state, {"TrainingJobName": resource.name})
        return RedirectResponse(f"{PREFIX}jobs/{resource.name}", 303)

    async def bucket(self, request: Request) -> Response:
        """One folder of a bucket."""
        name, parameters = request.path_params["bucket"], request.query_params
        prefix, after = parameters.get("prefix", ""), parameters.get("after", "")
        try:
            values = await run_in_threadpool(bucket_values, self._store, name, prefix, after)
        except S3Error as error:
            raise HTTPException(404, error.message) from None
        return self.render("bucket.html", values)

    async def file(self, request: Request) -> Response:
        """A file that pages use."""
        name = request.url.path.removeprefix(PREFIX)
        content = (files("clearsight_sagemaker") / "templates" / "pages" / name).read_bytes()
        return Response(content, media_type=_FILES[name], headers={**_HEADERS, "Cache-Control": "max-age=3600"})

    async def problem(self, request: Request, error: Exception) -> Response:
        """The page of an error."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        text = error.detail if isinstance(error, HTTPException) else ""
        return self.render("problem.html", {"text": text, "is_live": False}, status)

    async def _resource(self, request: Request) -> Resource:
        name = request.path_params["name"]
        resource = await run_in_threadpool(self._state.table.get, TRAINING_JOB, name)
        if resource is None:
            raise HTTPException(404, f"There is no training job {name[:63]}.")
        return await run_in_threadpool(self._state.training_jobs.record, resource)

    def _row(self, job: Resource) -> dict[str, Any]:
        progress = self._state.training_jobs.progress(job.name)
        found = [name for (_, name), rule in progress.rules.items() if rule.status == "IssuesFound"]
        end = progress.finished
        return {
            "name": job.name,
            "status": progress.status,
            "secondary": progress.secondary,
            "created": job.created,
            "seconds": None if progress.started is None or end is None else end - progress.started,
            "metrics": dict([*progress.metrics.items()][:3]),
            "found": found,
        }

    def render(self, template: str, values: Mapping[str, Any], status: int = 200) -> Response:
        """Return a page of a template."""
        page = self._environment.get_template(template).render(**values, region=self._state.account.region)
        return HTMLResponse(page, status, headers=_HEADERS)


def _moment(seconds: float) -> str:
    """Return a time as "2026-11-30 21:24:29 UTC". seconds: since 1970."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
