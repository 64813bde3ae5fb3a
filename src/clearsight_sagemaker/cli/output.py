"""Text of the commands: status, logs, and variables as a shell reads them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clearsight.core.errors import NotFound
from clearsight.core.format import several
from clearsight.jobs.log_file import follow as followed
from clearsight.jobs.log_file import last_lines
from clearsight_sagemaker.state.home import ServiceHome


def status_values(home: ServiceHome) -> dict[str, Any]:
    """Return what `status --json` prints. url: "" where no service runs.

    running: jobs that have not ended, and endpoints.
    """
    from clearsight_sagemaker.cli.home_resources import home_resources
    from clearsight_sagemaker.service.lifecycle import running_url
    from clearsight_sagemaker.training.processes.namespaces import namespace_support

    url, address = running_url(home), home.address()
    values: dict[str, Any] = {"url": url, "home": str(home.folder)}
    if url:
        values |= {"container": namespace_support(home.jobs).sentence}
        values |= {name: address[name] for name in ("max_jobs", "require_signature")}
        values |= {"process": address["process"]["pid"], **_job_counts(url)}
    with home_resources(home) as resources:
        return {**values, "running": resources.running()}


def status_lines(values: Mapping[str, Any]) -> list[str]:
    """Return the lines of `status`."""
    if not values["url"]:
        return ["stopped  no service runs", f"home     {values['home']}", *_running_lines(values["running"])]
    signatures = "required" if values["require_signature"] else "not checked"
    return [
        f"serving  {values['url']} (process {values['process']})",
        f"home     {values['home']}",
        f"jobs     {values['active_jobs']} active, at most {values['max_jobs']} run at the same time",
        f"serves   {several(values['endpoints'], 'endpoint')}",
        f"access   signatures are {signatures}",
        f"/opt/ml  {values['container']}",
        *_running_lines(values["running"]),
    ]


def _running_lines(running: Sequence[Mapping[str, str]]) -> list[str]:
    lines = []
    for found in running:
        word = found["kind"] if found["kind"] == "endpoint" else f"{found['kind']} job"
        secondary = f" ({found['secondary']})" if found["secondary"] else ""
        lines.append(f"running  {word} {found['name']}: {found['status']}{secondary}")
    return lines


def resource_values(home: ServiceHome, name: str, kind: str) -> dict[str, Any]:
    """Return what `status NAME --json` prints. Raises NotFound, and BadValue where several kinds have the name."""
    from clearsight_sagemaker.cli.home_resources import home_resources

    with home_resources(home) as resources:
        return resources.values(resources.find(name, kind))


def resource_lines(values: Mapping[str, Any]) -> list[str]:
    """Return the lines of `status NAME`."""
    kind = values["kind"]
    reason = f": {values['reason']}" if values["reason"] else ""
    secondary = f" ({values['secondary']})" if values.get("secondary") else ""
    first = f"endpoint {values['name']}" if kind == "endpoint" else f"job      {values['name']} ({kind})"
    details = {"tuning": _tuning_lines, "endpoint": _endpoint_lines}.get(kind, _job_lines)(values)
    return [first, f"status   {values['status']}{secondary}{reason}", *details]


def _job_lines(values: Mapping[str, Any]) -> list[str]:
    lines = []
    for rule in values["rules"]:
        details = " ".join(rule["details"].split())
        lines.append(f"rule     {rule['rule']}: {rule['status']}{'. ' + details if details else ''}")
    lines.append(f"log      {values['log']}")
    if values["run"]:
        lines.append(f"run      {values['run']} (open it with: clearsight report, clearsight debug)")
    return lines


def _tuning_lines(values: Mapping[str, Any]) -> list[str]:
    children, best = values["training_jobs"], values["best"]
    most = f" of {values['most']}" if values["most"] else ""
    lines = [f"jobs     {len(children)}{most} training jobs"]
    if best is not None:
        lines.append(f"best     {best['name']}: {best['metric']} = {best['value']:g}")
    return lines + [f"training {child['name']}: {child['status']}" for child in children]


def _endpoint_lines(values: Mapping[str, Any]) -> list[str]:
    variants = [
        f"variant  {part['variant']}: model {part['model']}, {several(part['instances'], 'instance')}, "
        f"weight {part['weight']:g}"
        for part in values["variants"]
    ]
    return [f"config   {values['config']}", *variants, f"logs     {values['logs']}"]


def log_lines(home: ServiceHome, name: str, kind: str, count: int, *, follow: bool) -> Iterator[str]:
    """Yield the last lines of the log of the service, or of a job or an endpoint; raises NotFound, BadValue."""
    from clearsight_sagemaker.cli.home_resources import home_resources
    from clearsight_sagemaker.cli.log_tail import last_lines_of, new_lines_of

    if not name:
        yield from _service_lines(home, count, follow=follow)
        return
    with home_resources(home) as resources:
        resource = resources.find(name, kind)
        logs = resources.logs(resource)
        if not logs and not follow:
            raise NotFound(name, f"this {resource.word} has written no log yet")
        lines, tails = last_lines_of(logs, count)
        yield from lines
        if follow:
            yield from new_lines_of(lambda: resources.logs(resource), tails)


def _service_lines(home: ServiceHome, count: int, *, follow: bool) -> Iterator[str]:
    from clearsight_sagemaker.service.lifecycle import service_log

    path = service_log(home)
    if not path.is_file():
        raise NotFound(str(path), "there is no log of it")
    size = path.stat().st_size
    yield from last_lines(path, count)
    if follow:
        yield from followed(path, lambda: False, size)


def env_lines(variables: Mapping[str, str | None]) -> Iterator[str]:
    """Yield lines for a POSIX shell."""
    for name, value in variables.items():
        yield f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}"


def _job_counts(url: str) -> dict[str, int]:
    """Return how many jobs have not ended and how many endpoints serve, as the service says."""
    from urllib.request import ProxyHandler, build_opener

    from clearsight_sagemaker.service.app import HEALTH_PATH

    with build_opener(ProxyHandler({})).open(url + HEALTH_PATH, timeout=5) as response:
        counts = json.load(response)
    return {name: int(counts[name]) for name in ("active_jobs", "endpoints")}
