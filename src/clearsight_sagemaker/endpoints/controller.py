"""EndpointController: starts and ends the model servers of endpoints, as the rows of the table want it.

Each model server is a process of the supervisor of `clearsight.jobs`, so that neither the end nor a kill of the service
ends it. Rows are written first: after a kill the next round finds what is to be done. Only this thread ends processes,
and none that has a request.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from clearsight.core.errors import ClearsightError, NotFound
from clearsight.jobs.client import Jobs, jobs_of
from clearsight.jobs.job import Job, JobSpec
from clearsight_sagemaker.endpoints.deployment import (
    PROCESS_PREFIX,
    Deployment,
    EndpointDocument,
    InstanceName,
    instances,
)
from clearsight_sagemaker.endpoints.routes import EndpointRoutes
from clearsight_sagemaker.hosting.server_status import ServerStatus
from clearsight_sagemaker.jobs.job_files import JobFiles
from clearsight_sagemaker.state.home import ServiceHome
from clearsight_sagemaker.state.resource_table import Resource, ResourceTable
from clearsight_sagemaker.training.processes.namespaces import remove_work

LOG = logging.getLogger("clearsight.sagemaker")

ENDPOINT = "endpoint"
CHANGING = ("Creating", "Updating", "RollingBack", "Deleting")
_ACTIVE_SECONDS, _IDLE_SECONDS = 0.1, 2.0  # between two rounds
_STOP_SECONDS = 75.0  # for requests in progress, which take 60 s at most, and the end of the process
_MOST_STARTS = 4  # of a process that never says anything
_MOST_REASON = 1024  # characters
_COMMAND = (sys.executable, "-P", "-m", "clearsight_sagemaker.hosting")


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointSettings:
    """Settings of all endpoints. facts: service.json of model servers.  environment: of their processes.

    strict: fail an endpoint whose model cannot be loaded.
    """

    facts: Mapping[str, Any]
    environment: Mapping[str, str]
    strict: bool = False


class EndpointController:
    """Thread that follows the rows of endpoints. each_round: called after each round, for what is done beside it."""

    def __init__(
        self,
        table: ResourceTable,
        home: ServiceHome,
        routes: EndpointRoutes,
        settings: EndpointSettings,
        each_round: Callable[[], None],
    ) -> None:
        self._table, self._home, self._routes = table, home, routes
        self._settings, self._each_round = settings, each_round
        self._unrouted: set[str] = set()  # processes that were not needed in the round before
        self._may_have_left_over = True  # files of model servers that have ended, by a kill of the service
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="endpoints", daemon=True)

    def start(self) -> None:
        """Route requests to what serves already, and start to follow the table."""
        for row in self._table.every(ENDPOINT):
            self._route(row, EndpointDocument.from_json(row.document))
        self._thread.start()

    def close(self) -> None:
        """Follow no more; model servers go on."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Do at once what is to be done."""
        self._wake.set()

    # The thread

    def _run(self) -> None:
        with jobs_of(self._home.processes) as processes:  # its connection is for this thread alone
            while not self._stopped.is_set():
                self._wake.clear()
                active = True
                try:
                    active = self._round(processes)
                    self._each_round()
                except (ClearsightError, OSError, SQLAlchemyError, sqlite3.Error) as error:  # a full disk, and the like
                    LOG.error("endpoints: %s", error)
                self._wake.wait(_ACTIVE_SECONDS if active else _IDLE_SECONDS)

    def _round(self, processes: Jobs) -> bool:
        """Do what is to be done; return True while something changes."""
        rows = self._table.every(ENDPOINT)
        jobs = {job.spec.name: job for job in processes.all() if job.spec.name.startswith(PROCESS_PREFIX)}
        needed: dict[str, InstanceName] = {}
        for row in rows:
            if row.status != "Deleting":
                needed |= self._follow(row, jobs, processes)
        ending = self._end_unneeded(jobs, needed, processes)
        if self._may_have_left_over:
            self._remove_left_over(rows, jobs, needed)
        for row in rows:
            if row.status == "Deleting":
                self._delete(row, processes)
        return ending or any(row.status in CHANGING for row in rows)

    def _delete(self, row: Resource, processes: Jobs) -> None:
        """Remove an endpoint once its processes have ended. Its logs stay."""
        self._routes.remove(row.name)
        folder = self._home.endpoints / row.name
        if not any(job.spec.folder.is_relative_to(folder) for job in processes.all()):
            remove_work(folder / "instances")  # a kill of the service may have left some of them
            self._table.remove(ENDPOINT, row.name)

    def _follow(self, row: Resource, jobs: Mapping[str, Job], processes: Jobs) -> dict[str, InstanceName]:
        """Start what an endpoint lacks, and bring its row up to date; return the processes that it needs."""
        document = EndpointDocument.from_json(row.document)
        names = [name for part in document.deployments for name in instances(row.name, row.created, part)]
        for name in names:
            job = jobs.get(name.process)
            if job is None or (job.target != "running" and job.state.status.ended):
                self._start(name, document, processes)
        if row.status in CHANGING:
            document = self._finish_change(row, document, jobs)
        self._route(row, document)
        numbers = {part.number for part in document.deployments}
        return {name.process: name for name in names if name.deployment in numbers}

    def _finish_change(self, row: Resource, document: EndpointDocument, jobs: Mapping[str, Job]) -> EndpointDocument:
        """Let the target serve once all of its model servers do, or give it up; return the document."""
        target = document.deployment(document.target)
        if target is None:
            return document
        names = [*instances(row.name, row.created, target)]
        states = [self._state(name, jobs.get(name.process)) for name in names]
        reason = next((state.reason for state in states if state.status == "failed"), "")
        if not reason and self._settings.strict:
            pairs = zip(names, states, strict=True)
            reason = next((_not_loaded(name, state.reason) for name, state in pairs if state.reason), "")
        if reason:
            return self._give_up(row, document, reason)
        if not all(state.status == "ready" for state in states):
            return document
        return self._change(
            row,
            "InService",
            lambda current: replace(current, serving=target.number, deployments=_only(current, target.number)),
            target.number,
        )

    def _give_up(self, row: Resource, document: EndpointDocument, reason: str) -> EndpointDocument:
        """Fail an endpoint that serves nothing yet; let the one that serves go on as it was."""
        status = "InService" if document.serving else "Failed"
        LOG.warning("endpoint %s: %s", row.name, reason)

        def changed(current: EndpointDocument) -> EndpointDocument:
            # A failed endpoint keeps no processes; its deployment stays for its description.
            number = current.serving or current.target
            parts = _only(current, number)
            if not current.serving:
                parts = tuple(_without_servers(part) for part in parts)
            return replace(current, target=number, deployments=parts, reason=reason[:_MOST_REASON])

        return self._change(row, status, changed, document.target)

    def _change(
        self, row: Resource, status: str, changed: Callable[[EndpointDocument], EndpointDocument], target: int
    ) -> EndpointDocument:
        """Change a row that still wants the same; return its document."""

        def updated(current: Resource) -> Resource:
            document = EndpointDocument.from_json(current.document)
            if current.number != row.number or current.status == "Deleting" or document.target != target:
                return current
            return replace(current, status=status, document=changed(document).to_json(), modified=time.time())

        after = self._table.change(ENDPOINT, row.name, updated)
        return EndpointDocument.from_json(after.document if after is not None else row.document)

    def _state(self, name: InstanceName, job: Job | None) -> ServerStatus:
        """Return the status of a model server; "failed" also for a process that ends again and again without one."""
        status = ServerStatus.read(name.folder(self._home.endpoints))
        if status.status == "preparing" and job is not None and job.state.starts >= _MOST_STARTS:
            return ServerStatus(status="failed", reason=f"The model server ends: {job.state.reason}")
        return status

    def _route(self, row: Resource, document: EndpointDocument) -> None:
        deployment = document.deployment(document.serving)
        if deployment is None or row.status in ("Deleting", "Failed"):
            self._routes.remove(row.name)
        else:
            names = instances(row.name, row.created, deployment)
            self._routes.serve(row.name, deployment, names, self._home.endpoints)

    def _start(self, name: InstanceName, document: EndpointDocument, processes: Jobs) -> None:
        deployment = document.deployment(name.deployment)
        variant = deployment.variant(name.variant) if deployment is not None else None
        if variant is None:
            return
        folder, log = name.folder(self._home.endpoints), name.log(self._home.endpoints)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        JobFiles(folder).create(variant.server_request, dict(self._settings.facts))
        if not (folder / "log.txt").is_symlink():
            (folder / "log.txt").symlink_to(os.path.relpath(log, folder))
        processes.start(
            JobSpec(
                name=name.process,
                command=(*_COMMAND, str(folder)),
                folder=folder,
                environment=self._settings.environment,
                restart="on-failure",
                stop_seconds=_STOP_SECONDS,
            )
        )

    def _end_unneeded(self, jobs: Mapping[str, Job], needed: Iterable[str], processes: Jobs) -> bool:
        """End processes that nothing needs any more and that have no request; return True while there are some.

        They are ended a round after the routes have left them out: a request may have read the routes just before.
        """
        unneeded = jobs.keys() - {*needed}
        for process in unneeded & self._unrouted:
            folder = jobs[process].spec.folder
            if not self._routes.in_progress(folder):
                _remove(processes, process)
                self._routes.forget(folder)
                self._remove_folder(folder)
                unneeded -= {process}
        self._unrouted = {*unneeded}
        return bool(unneeded)

    def _remove_left_over(
        self, rows: Iterable[Resource], jobs: Mapping[str, Job], needed: Mapping[str, InstanceName]
    ) -> None:
        """Remove the folders of model servers that are not needed and have no process."""
        self._may_have_left_over = False
        used = {job.spec.folder for job in jobs.values()}
        used |= {name.folder(self._home.endpoints) for name in needed.values()}
        for row in rows:
            for folder in (self._home.endpoints / row.name / "instances").glob("*"):
                if folder not in used:
                    self._remove_folder(folder)

    def _remove_folder(self, folder: Path) -> None:
        """Remove the folder of a model server; a later round tries again where that is not possible."""
        try:
            remove_work(folder)
        except OSError as error:
            self._may_have_left_over = True
            LOG.error("endpoints: %s", error)


def _remove(processes: Jobs, name: str) -> None:
    try:
        processes.remove(name)
    except NotFound:
        return  # it was removed before


def _only(document: EndpointDocument, number: int) -> tuple[Deployment, ...]:
    return tuple(deployment for deployment in document.deployments if deployment.number == number)


def _without_servers(deployment: Deployment) -> Deployment:
    return replace(deployment, variants=tuple(replace(variant, count=0) for variant in deployment.variants))


def _not_loaded(name: InstanceName, reason: str) -> str:
    """Return why an endpoint fails whose model cannot be loaded: SageMaker's sentence and the end of the traceback."""
    text = f"The primary container for production variant {name.variant} did not pass the ping health check:\n"
    return text + reason[-(_MOST_REASON - len(text)) :]
