"""HomeResources: jobs and endpoints of a home, as its table and folders have them, whether or not the service runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadChoice, BadValue, NotFound
from clearsight_sagemaker.endpoints.controller import ENDPOINT
from clearsight_sagemaker.endpoints.deployment import EndpointDocument
from clearsight_sagemaker.jobs.job_files import JobFiles
from clearsight_sagemaker.jobs.progress import JobProgress
from clearsight_sagemaker.state.home import ServiceHome
from clearsight_sagemaker.state.resource_table import Resource, ResourceTable
from clearsight_sagemaker.state.service_state import PROCESSING_JOB, TRAINING_JOB, TRANSFORM_JOB, TUNING_JOB
from clearsight_sagemaker.training.job_folder import JobFolder
from clearsight_sagemaker.tuning.tuning_job import TuningJob

# Kinds of the table by their names in commands, in the order in which they are listed.
KINDS: Mapping[str, str] = {
    "training": TRAINING_JOB,
    "tuning": TUNING_JOB,
    "processing": PROCESSING_JOB,
    "transform": TRANSFORM_JOB,
    "endpoint": ENDPOINT,
}
_NOT_ENDED = ("Creating", "InProgress", "Stopping")


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedResource:
    """A job or an endpoint. kind: as in commands, "training"."""

    kind: str
    row: Resource

    @property
    def word(self) -> str:
        """Return the kind as sentences have it: "training job"."""
        return self.kind if self.kind == "endpoint" else f"{self.kind} job"


class HomeResources:
    """Jobs and endpoints of a home. table: None for a home that has none yet."""

    def __init__(self, home: ServiceHome, table: ResourceTable | None) -> None:
        self._home, self._table = home, table

    def running(self) -> list[dict[str, str]]:
        """Return kind, name, status and secondary status of endpoints and of jobs that have not ended."""
        found = []
        for kind, table_kind in KINDS.items():
            for row in self._every(table_kind, *(() if kind == "endpoint" else _NOT_ENDED)):
                resource = NamedResource(kind=kind, row=row)
                facts = self._status(resource)
                if facts["status"] in _NOT_ENDED or kind == "endpoint":  # events of a job may say more than its row
                    found.append({"kind": kind, "name": row.name, **facts})
        return found

    def find(self, name: str, kind: str = "") -> NamedResource:
        """Return the resource of a name. kind: "" for any.

        Raises NotFound with the nearest name, and BadValue where several kinds have the name.
        """
        if kind and kind not in KINDS:
            raise BadChoice(f"--kind {kind}", "there is no such kind", got=kind, allowed=KINDS)
        words = [word for word in KINDS if kind in ("", word)]
        rows = {word: self._table.get(KINDS[word], name) for word in words} if self._table is not None else {}
        found = [NamedResource(kind=word, row=row) for word, row in rows.items() if row is not None]
        if not found:
            names = dict.fromkeys(row.name for word in words for row in self._every(KINDS[word]))
            problem = "there is no job and no endpoint of this name"
            if kind:
                problem = f"there is no {'endpoint' if kind == 'endpoint' else f'{kind} job'} of this name"
            raise NotFound(name, problem, got=name, allowed=names)
        if len(found) > 1:
            kinds = " and ".join(f"{'an' if part.kind == 'endpoint' else 'a'} {part.word}" for part in found)
            choices = " or ".join(f"--kind {part.kind}" for part in found)
            raise BadValue(name, f"{kinds} have this name", fix=f"Choose with {choices}.")
        return found[0]

    def values(self, resource: NamedResource) -> dict[str, Any]:
        """Return what `status NAME --json` prints."""
        if resource.kind == "tuning":
            return self._tuning_values(resource.row)
        if resource.kind == "endpoint":
            return self._endpoint_values(resource.row)
        return job_values(self._home, resource.kind, resource.row.name)

    def logs(self, resource: NamedResource) -> dict[str, Path]:
        """Return the logs of a resource that are there now, by what their lines begin with: "" for the only log."""
        if resource.kind == "tuning":
            row = self._table.get(TUNING_JOB, resource.row.name) if self._table is not None else None
            names = [child.name for child in TuningJob(row or resource.row).children]
            logs = {f"{name}: ": JobFiles(self._home.jobs / TRAINING_JOB / name).log for name in names}
        elif resource.kind == "endpoint":
            folder = self._home.endpoints / resource.row.name / "logs"
            paths = sorted(folder.glob("*/*.txt"))
            logs = {f"{path.parent.name}/{path.stem}: ": path for path in paths}
        else:
            logs = {"": JobFiles(self._home.jobs / KINDS[resource.kind] / resource.row.name).log}
        return {start: path for start, path in logs.items() if path.is_file()}

    def _every(self, kind: str, *statuses: str) -> list[Resource]:
        return self._table.every(kind, *statuses) if self._table is not None else []

    def _status(self, resource: NamedResource) -> dict[str, str]:
        row = resource.row
        if resource.kind in ("tuning", "endpoint"):
            return {"status": row.status, "secondary": ""}
        progress = _progress(self._home, resource.kind, row.name)
        return {"status": progress.status, "secondary": progress.secondary}

    def _tuning_values(self, row: Resource) -> dict[str, Any]:
        job, best = TuningJob(row), None
        if job.best is not None and job.best.end is not None:
            best = {"name": job.best.name, "metric": job.objective.metric, "value": job.best.end.value}
        children = [
            {"name": child.name, "status": child.end.status if child.end is not None else "InProgress"}
            for child in job.children
        ]
        return {
            "kind": "tuning",
            "name": row.name,
            "status": row.status,
            "reason": str(row.document.get("reason") or ""),
            "most": job.limits.get("MaxNumberOfTrainingJobs"),
            "training_jobs": children,
            "best": best,
        }

    def _endpoint_values(self, row: Resource) -> dict[str, Any]:
        document = EndpointDocument.from_json(row.document)
        variants = [
            {"variant": part.name, "model": part.model, "instances": part.count, "weight": part.weight}
            for part in document.shown.variants
        ]
        return {
            "kind": "endpoint",
            "name": row.name,
            "status": row.status,
            "reason": document.reason,
            "config": document.shown.config,
            "variants": variants,
            "logs": str(self._home.endpoints / row.name / "logs"),
        }


@contextmanager
def home_resources(home: ServiceHome) -> Iterator[HomeResources]:
    """Yield the resources of a home within the block. Raises BadData where its database cannot be opened."""
    url = home.address().get("state_url") or ""
    if not url and not (home.folder / "state.sqlite").is_file():  # to look at a home makes nothing in it
        yield HomeResources(home, None)
        return
    table = ResourceTable(url or home.state_url())
    try:
        yield HomeResources(home, table)
    finally:
        table.close()


def job_values(home: ServiceHome, kind: str, name: str) -> dict[str, Any]:
    """Return what `status NAME --json` prints of a job with a process. run: clearsight's run folder, "" for none."""
    progress, folder = _progress(home, kind, name), JobFolder(home.jobs / KINDS[kind] / name)
    rules = [
        {"rule": rule_name, "profiler": is_profiler, "status": rule.status, "details": rule.details}
        for (is_profiler, rule_name), rule in progress.rules.items()
    ]
    return {
        "kind": kind,
        "name": name,
        "status": progress.status,
        "secondary": progress.secondary,
        "reason": progress.reason,
        "rules": rules,
        "run": str(folder.run) if folder.run.is_dir() else "",
        "log": str(folder.log),
    }


def _progress(home: ServiceHome, kind: str, name: str) -> JobProgress:
    """Return what the events of a job say: the table may be older where no service runs."""
    progress = JobProgress()
    progress.update(JobFiles(home.jobs / KINDS[kind] / name))
    return progress
