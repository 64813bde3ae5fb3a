"""Pages of tuning jobs: status, best so far, training jobs, the objective, and the study report of clearsight."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from clearsight.core.errors import ClearsightError
from clearsight_sagemaker.pages.job_page import readable_value
from clearsight_sagemaker.resources.tuning_job_description import child_summaries, describe_tuning
from clearsight_sagemaker.resources.tuning_jobs import stop_tuning_job
from clearsight_sagemaker.state.resource_table import ResourceQuery
from clearsight_sagemaker.state.service_state import TUNING_JOB, ServiceState
from clearsight_sagemaker.svg_charts import curve
from clearsight_sagemaker.tuning.study_folder import importances, write_study
from clearsight_sagemaker.tuning.tuning_job import IN_PROGRESS, TuningJob

_ROWS = 10  # tuning jobs on the overview
_MOST_SHARES = 64  # tuning jobs whose importance stays in memory
# The report is one file with scripts of its own: in a sandbox, it reaches neither the service nor other pages.
_REPORT_POLICY = "sandbox allow-scripts; default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
_REPORT_POLICY += "script-src 'unsafe-inline'"

Render = Callable[[str, Mapping[str, Any]], Response]


class TuningPages:
    """Handlers of the routes. render: returns the page of a template with values."""

    def __init__(self, state: ServiceState, render: Render) -> None:
        self._state, self._render = state, render
        self._shares: OrderedDict[tuple[str, int], dict[str, float]] = OrderedDict()
        self._writing = threading.Lock()

    def routes(self, prefix: str) -> list[Route]:
        """Return the routes below a prefix that ends with a slash."""
        return [
            Route(f"{prefix}tuning/{{name}}", self.job),
            Route(f"{prefix}tuning/{{name}}/study", self.study),
            Route(f"{prefix}tuning/{{name}}/stop", self.stop, methods=["POST"]),
        ]

    def rows(self) -> list[dict[str, Any]]:
        """Return the newest tuning jobs, as the overview shows them."""
        resources, _ = self._state.page(ResourceQuery(kind=TUNING_JOB, descending=True, limit=_ROWS))
        return [self._row(TuningJob(resource)) for resource in resources]

    async def job(self, request: Request) -> Response:
        """One tuning job."""
        job = await self._job(request)
        return self._render("tuning_job.html", await run_in_threadpool(self._values, job))

    async def study(self, request: Request) -> Response:
        """The study report of a tuning job as it is now."""
        job = await self._job(request)

        def write() -> Response:
            with self._writing:
                try:
                    page = write_study(job, self._state.training_jobs, self._state.home.studies / job.resource.name)
                except ClearsightError as error:
                    raise HTTPException(500, str(error)) from None
            headers = {"Content-Security-Policy": _REPORT_POLICY, "Cache-Control": "no-store"}
            return FileResponse(page, media_type="text/html", headers=headers)

        return await run_in_threadpool(write)

    async def stop(self, request: Request) -> Response:
        """Stop a tuning job that has not ended."""
        job = await self._job(request)
        if job.resource.status in IN_PROGRESS:
            parameters = {"HyperParameterTuningJobName": job.resource.name}
            await run_in_threadpool(stop_tuning_job, self._state, parameters)
        return RedirectResponse(f"/_clearsight/tuning/{job.resource.name}", 303)

    async def _job(self, request: Request) -> TuningJob:
        name = request.path_params["name"]
        resource = await run_in_threadpool(self._state.table.get, TUNING_JOB, name)
        if resource is None:
            raise HTTPException(404, f"There is no tuning job {name[:63]}.")
        return TuningJob(resource)

    def _values(self, job: TuningJob) -> dict[str, Any]:
        """Return what the template of a tuning job shows."""
        resource, document = job.resource, job.resource.document
        parameters = dict.fromkeys(each.name for definition in job.definitions for each in definition.parameters)
        reasons = {child.name: child.stop_reason for child in job.children}
        return {
            "job": describe_tuning(job, self._state.account, resource.modified),
            "objective": job.objective,
            "strategy": job.config["Strategy"],
            "limits": job.limits,
            "cause": document.get("cause", ""),
            "is_live": resource.status in IN_PROGRESS,
            "parameters": [*parameters],
            "has_definitions": len(job.definitions) > 1,
            "children": [{**child, "reason": reasons[child["TrainingJobName"]]} for child in self._children(job)],
            "charts": [*_charts(job)],
            "importance": self._importance(job),
            "folder": str(self._state.home.studies / resource.name),
        }

    def _children(self, job: TuningJob) -> list[dict[str, Any]]:
        return list(reversed(child_summaries(self._state, job)))

    def _row(self, job: TuningJob) -> dict[str, Any]:
        best = job.best
        return {
            "name": job.resource.name,
            "status": job.resource.status,
            "created": job.resource.created,
            "ended": sum(child.end is not None for child in job.children),
            "most": job.limits["MaxNumberOfTrainingJobs"],
            "metric": job.objective.metric,
            "best": best.end.value if best is not None and best.end is not None else None,
        }

    def _importance(self, job: TuningJob) -> dict[str, float]:
        """Return the importance of the hyperparameters, computed once for each number of ended training jobs."""
        key = (job.resource.document["arn"], len(job.scored))
        if key not in self._shares:
            self._shares[key] = importances(job)
            while len(self._shares) > _MOST_SHARES:
                self._shares.popitem(last=False)
        return self._shares[key]


def short_number(value: str) -> str:
    """Return a long number with six digits, any other text without the quotes of JSON."""
    text = readable_value(value)
    try:
        return f"{float(text):.6g}" if len(text) > 10 else text
    except ValueError:
        return text


def _charts(job: TuningJob) -> Iterator[dict[str, Any]]:
    """Yield name, last value and curve of the objective of the training jobs, and of the best one so far."""
    times: list[float] = []
    values: list[float] = []
    best: list[float] = []
    for child in job.scored:
        if child.end is None or child.end.value is None:
            continue
        value = child.end.value
        times.append(child.end.ended or job.resource.created)
        values.append(value)
        best.append(value if not best or job.objective.better(value, best[-1]) else best[-1])
    for name, series in (("of each training job", values), ("best so far", best)):
        if series:
            yield {"name": f"{job.objective.metric}, {name}", "value": series[-1], "curve": curve(times, series, name)}
