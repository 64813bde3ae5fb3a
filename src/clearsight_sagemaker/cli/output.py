"""Text of the commands: status, logs, and variables as a shell reads them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from clearsight.core.errors import NotFound
from clearsight.core.format import several
from clearsight.jobs.log_file import follow as followed
from clearsight.jobs.log_file import last_lines
from clearsight_sagemaker.state.home import ServiceHome


def status_values(home: ServiceHome) -> dict[str, Any]:
    """Return what `status --json` prints. url: "" where no service runs."""
    from clearsight_sagemaker.service.lifecycle import running_url
    from clearsight_sagemaker.training.processes.namespaces import namespace_support

    url, address = running_url(home), home.address()
    values: dict[str, Any] = {"url": url, "home": str(home.folder)}
    if url:
        values |= {"container": namespace_support(home.jobs).sentence}
        values |= {name: address[name] for name in ("max_jobs", "require_signature")}
        values |= {"process": address["process"]["pid"], **_job_counts(url)}
    return values


def status_lines(values: Mapping[str, Any]) -> list[str]:
    """Return the lines of `status`."""
    if not values["url"]:
        return ["stopped  no service runs", f"home     {values['home']}"]
    signatures = "required" if values["require_signature"] else "not checked"
    return [
        f"serving  {values['url']} (process {values['process']})",
        f"home     {values['home']}",
        f"jobs     {values['active_jobs']} active, at most {values['max_jobs']} run at the same time",
        f"serves   {several(values['endpoints'], 'endpoint')}",
        f"access   signatures are {signatures}",
        f"/opt/ml  {values['container']}",
    ]


def job_values(home: ServiceHome, job: str) -> dict[str, Any]:
    """Return what `status JOB --json` prints; raises NotFound. run: clearsight's run folder of the job, "" for none."""
    from clearsight_sagemaker.jobs.job_files import JobFiles
    from clearsight_sagemaker.jobs.progress import JobProgress
    from clearsight_sagemaker.state.service_state import TRAINING_JOB
    from clearsight_sagemaker.training.job_folder import JobFolder

    folder, progress = JobFiles(home.jobs / TRAINING_JOB / job), JobProgress()
    if not folder.events.is_file():
        names = [path.name for path in (home.jobs / TRAINING_JOB).glob("*")]
        raise NotFound(job, "there is no training job of this name", got=job, allowed=names)
    progress.update(folder)
    run = JobFolder(folder.path).run
    rules = [
        {"rule": name, "profiler": is_profiler, "status": rule.status, "details": rule.details}
        for (is_profiler, name), rule in progress.rules.items()
    ]
    values = {"job": job, "status": progress.status, "secondary": progress.secondary, "reason": progress.reason}
    return {**values, "rules": rules, "run": str(run) if run.is_dir() else "", "log": str(folder.log)}


def job_lines(values: Mapping[str, Any]) -> list[str]:
    """Return the lines of `status JOB`."""
    reason = f": {values['reason']}" if values["reason"] else ""
    lines = [f"job      {values['job']}", f"status   {values['status']} ({values['secondary']}){reason}"]
    for rule in values["rules"]:
        details = " ".join(rule["details"].split())
        lines.append(f"rule     {rule['rule']}: {rule['status']}{'. ' + details if details else ''}")
    lines.append(f"log      {values['log']}")
    if values["run"]:
        lines.append(f"run      {values['run']} (open it with: clearsight report, clearsight debug)")
    return lines


def log_lines(home: ServiceHome, job: str, count: int, *, follow: bool) -> Iterator[str]:
    """Yield the last lines of the log of the service or of a job; raises NotFound."""
    from clearsight_sagemaker.service.lifecycle import service_log
    from clearsight_sagemaker.state.service_state import TRAINING_JOB

    path = home.jobs / TRAINING_JOB / job / "log.txt" if job else service_log(home)
    if not path.is_file():
        names = [folder.name for folder in (home.jobs / TRAINING_JOB).glob("*")] if job else []
        raise NotFound(job or str(path), "there is no log of it", got=job, allowed=names)
    size = path.stat().st_size
    lines: Iterator[str] = iter(last_lines(path, count))
    for line in lines:
        yield _without_time(line) if job else line
    if follow:
        for line in followed(path, lambda: False, size):
            yield _without_time(line) if job else line


def env_lines(variables: Mapping[str, str | None]) -> Iterator[str]:
    """Yield lines for a POSIX shell."""
    for name, value in variables.items():
        yield f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}"


def _without_time(line: str) -> str:
    head, _, text = line.partition(" ")
    return text if head.isdigit() else line


def _job_counts(url: str) -> dict[str, int]:
    """Return how many jobs have not ended and how many endpoints serve, as the service says."""
    from urllib.request import ProxyHandler, build_opener

    from clearsight_sagemaker.service.app import HEALTH_PATH

    with build_opener(ProxyHandler({})).open(url + HEALTH_PATH, timeout=5) as response:
        counts = json.load(response)
    return {name: int(counts[name]) for name in ("active_jobs", "endpoints")}
