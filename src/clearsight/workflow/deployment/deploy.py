"""deploy, endpoints, update, rollback, scale, undeploy: models behind endpoints that outlive the command."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clearsight.core.errors import BadChoice, BadValue, ClearsightError
from clearsight.core.files import write_text
from clearsight.core.machine import cores
from clearsight.jobs.client import Jobs, jobs_of
from clearsight.jobs.job import HealthCheck, JobSpec, JobStatus, check_name
from clearsight.jobs.log_file import follow as follow_log
from clearsight.jobs.log_file import last_lines
from clearsight.serving.data_capture import CaptureOptions
from clearsight.serving.endpoint_files import EndpointConfig, EndpointFiles, VariantConfig
from clearsight.serving.middleware import check_origin
from clearsight.serving.server import listening, tls_context
from clearsight.workflow.deployment.endpoint_status import (
    EndpointStatus,
    existing,
    files_of,
    ray_status,
    status,
    url_of,
)
from clearsight.workflow.deployment.ray_endpoint import (
    RayEndpoint,
    deploy_on_ray,
    read_ray_endpoint,
    remove_from_ray,
)
from clearsight.workflow.deployment.ray_replica import ReplicaOptions
from clearsight.workflow.deployment.versions import ModelSource, add_version, copy_version, with_main

_MODULE = "clearsight.workflow.deployment.endpoint_process"
_START_SECONDS = 300.0  # for all workers to answer
_POLL_SECONDS = 0.05
_LEAST_TOKEN = 16  # characters
_ENVIRONMENTS = "environments"  # folder in the home, for the packages that models with code ask for
_RAY_PORT = 8000  # of the proxies of Ray Serve, by default
_KEPT = 3  # earlier versions, for rollback


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployOptions:
    """Options of a deployed endpoint. workers: at least and at most.  port: 0 for any free one.  token: "" for none.

    entry_point: file in code/ of the model that serves it, "" for a bundle as it is.  variants: further models, with
    their shares of the requests, 0 for shadows.  capture: of requests and responses.  tls: files of certificate and
    key, () for plain HTTP.  memory: bytes that a worker may hold before another takes its place, 0 for no limit.
    trust: run code that comes with a model.
    """

    host: str = "127.0.0.1"
    port: int = 0
    runtime: str = "auto"
    workers: tuple[int, int] = (1, 1)
    threads: int = 0
    max_pixels: int = 0
    origins: tuple[str, ...] = ()
    token: str = ""
    entry_point: str = ""
    variants: tuple[ModelSource, ...] = ()
    capture: CaptureOptions | None = None
    tls: tuple[str, ...] = ()
    memory: int = 0
    trust: bool = False


def capture_options(folder: str | Path | None, share: float) -> CaptureOptions | None:
    """Return options of data capture into a folder, for a share of the requests; None without either."""
    return CaptureOptions(folder=str(Path(folder).absolute()), share=share) if folder and share else None


def deploy(
    model: str | Path,
    name: str,
    options: DeployOptions,
    *,
    home: Path,
    environment: Mapping[str, str],
) -> EndpointStatus:
    """Serve a run, a bundle or a model with code from processes that outlive this one; return its status.

    home: folder of the jobs of this user.  environment: of the processes.
    Raises BadValue for a name that is in use, ClearsightError with the reason where the endpoint does not work.
    """
    check_name(name)
    origins = tuple(check_origin(origin) for origin in options.origins)
    _check_token(options.token)
    if options.tls:
        tls_context(options.tls)  # raises for files that are no certificate and key
    sources = with_main(ModelSource(path=Path(model), entry_point=options.entry_point), options.variants)
    files = files_of(home, name)
    with jobs_of(home) as jobs:
        if files.config.is_file() or read_ray_endpoint(files.folder) is not None:
            fix = f"Give it another model with: clearsight endpoint update {name} RUN"
            raise BadValue(f"endpoint {name}", "there is one of this name already", fix=fix)
        shutil.rmtree(files.folder, ignore_errors=True)  # what a deployment left that was cut short
        try:
            variants = add_version(files.version(1), sources, home / _ENVIRONMENTS, environment, trust=options.trust)
        except BaseException:
            shutil.rmtree(files.folder, ignore_errors=True)
            raise
        config = EndpointConfig(
            name=name,
            host=options.host,
            port=_port(options.host, options.port),
            version=1,
            runtime=options.runtime,
            workers=options.workers,
            threads=options.threads,
            max_pixels=options.max_pixels,
            origins=origins,
            variants={"1": variants},
            capture=options.capture,
            tls=tuple(str(Path(path).absolute()) for path in options.tls),
            memory=options.memory,
        )
        if options.token:
            write_text(files.token, options.token, private=True)
        files.write_config(config)
        generation = jobs.start(_job(config, files, environment))
        deadline = time.monotonic() + _START_SECONDS

        job = jobs.wait(name, generation, _START_SECONDS)
        if job.state.status is not JobStatus.RUNNING:
            reason = job.state.reason or f"it is {job.state.status}"
            _remove(files, name, jobs)
            reason = reason.removeprefix(f"endpoint {name}: ")
            raise ClearsightError(f"endpoint {name}", f"it did not come into service: {reason}")
        _wait_for(files, config, jobs, deadline)
        return status(name, home=home, jobs=jobs)


def deploy_to_ray(model: str | Path, name: str, options: DeployOptions, *, address: str, home: Path) -> EndpointStatus:
    """Serve a run or bundle from replicas on a Ray cluster; return its status once they answer.

    address: of the cluster, "ray" for the one that runs on this machine.  options: those that replicas have; workers
    are replicas. Raises BadValue for a name that is in use and for options of endpoints on this machine.
    """
    files = files_of(home, name)
    if files.config.is_file() or read_ray_endpoint(files.folder) is not None:
        fix = f"Give it another model with: clearsight endpoint update {name} RUN"
        raise BadValue(f"endpoint {name}", "there is one of this name already", fix=fix)
    local = {"variants": "--variant and --shadow", "entry_point": "--entry-point", "capture": "--capture"}
    local |= {"tls": "--tls-cert", "memory": "--max-memory"}
    for field_name, flag in local.items():
        if getattr(options, field_name):
            raise BadValue(flag, "it is for endpoints on this machine", fix=f"Leave out {flag}, or --on.")
    _check_token(options.token)
    threads = options.threads or 1
    endpoint = RayEndpoint(
        name=name,
        address=address,
        host=options.host,
        port=options.port or _RAY_PORT,
        replicas=options.workers,
        cpus=float(threads),
        token=options.token,
        replica=ReplicaOptions(
            runtime=options.runtime,
            threads=threads,
            max_pixels=options.max_pixels,
            origins=tuple(check_origin(origin) for origin in options.origins),
        ),
    )
    try:
        return ray_status(deploy_on_ray(endpoint, Path(model), files.folder))
    except BaseException:
        shutil.rmtree(files.folder, ignore_errors=True)
        raise


def update(
    name: str,
    model: str | Path,
    *,
    home: Path,
    variants: Sequence[ModelSource] = (),
    entry_point: str = "",
    environment: Mapping[str, str] | None = None,
    trust: bool = False,
) -> EndpointStatus:
    """Serve another model without losing a request; the one before goes on where the new one does not start.

    variants, entry_point, trust: as of `DeployOptions`.  environment: variables of pip for the requirements of a model.
    """
    if (remote := read_ray_endpoint(files_of(home, name).folder)) is not None:
        if variants or entry_point:
            raise BadValue("--variant", "it is for endpoints on this machine")
        remote = replace(remote, version=remote.version + 1)
        return ray_status(deploy_on_ray(remote, Path(model), files_of(home, name).folder))
    files, config = existing(home, name)
    sources = with_main(ModelSource(path=Path(model), entry_point=entry_point), variants)
    version = _next_version(config)
    try:
        added = add_version(files.version(version), sources, home / _ENVIRONMENTS, environment or {}, trust=trust)
    except BaseException:
        shutil.rmtree(files.version(version), ignore_errors=True)
        raise
    return _exchange(files, config, version, added, home=home)


def weigh(name: str, shares: Mapping[str, float], *, home: Path) -> EndpointStatus:
    """Give the variants of an endpoint other shares of the requests; those that are not named share the rest.

    Raises BadChoice for a variant that is not there, BadValue for shares that leave nothing to the others.
    """
    files, config = existing(home, name)
    present = config.models(config.version)
    served = [variant for variant in present if variant.share]
    for variant in shares:
        if variant not in [each.name for each in served]:
            allowed = [each.name for each in served]
            raise BadChoice(f"variant {variant}", "the endpoint has none of this name", got=variant, allowed=allowed)
    others = sum(variant.share for variant in served if variant.name not in shares)
    rest = 1 - sum(shares.values())
    if any(not 0 < share <= 1 for share in shares.values()) or (rest <= 1e-9 if others else abs(rest) > 1e-6):
        raise BadValue("shares", f"{dict(shares)} must be above 0, and add up to 1 with those of the other variants")
    changed = {v.name: shares.get(v.name, v.share * rest / others if others else v.share) for v in served}
    version = _next_version(config)
    copy_version(files.version(config.version), files.version(version))
    added = tuple(replace(variant, share=changed.get(variant.name, 0.0)) for variant in present)
    return _exchange(files, config, version, added, home=home)


def rollback(name: str, *, home: Path) -> EndpointStatus:
    """Serve the model before the present one again; raises BadValue where there was none."""
    files, config = existing(home, name)
    if not config.earlier:
        raise BadValue(f"endpoint {name}", "it has no earlier version")
    *earlier, version = config.earlier
    return _change(files, replace(config, version=version, earlier=tuple(earlier)), home=home)


def scale(name: str, workers: tuple[int, int], *, home: Path) -> EndpointStatus:
    """Serve with another number of workers, at least and at most."""
    if (remote := read_ray_endpoint(files_of(home, name).folder)) is not None:
        return ray_status(deploy_on_ray(replace(remote, replicas=workers), None, files_of(home, name).folder))
    files, config = existing(home, name)
    return _change(files, replace(config, workers=workers), home=home)


def undeploy(name: str, *, home: Path) -> None:
    """End an endpoint once its requests in progress are answered; nothing of it is left. Raises NotFound."""
    if (remote := read_ray_endpoint(files_of(home, name).folder)) is not None:
        remove_from_ray(remote, files_of(home, name).folder)
        return
    files, _ = existing(home, name)
    with jobs_of(home) as jobs:
        _remove(files, name, jobs)


def log_lines(name: str, count: int, *, home: Path, follow: bool = False) -> Iterator[str]:
    """Yield the last lines of an endpoint's log; with `follow` also those to come, for ever. Raises NotFound."""
    existing(home, name)
    with jobs_of(home) as jobs:
        log = jobs.log(name)
    size = log.stat().st_size if log.is_file() else 0
    yield from last_lines(log, count)
    if follow:
        yield from follow_log(log, lambda: False, size)


def address(name: str, *, home: Path) -> tuple[str, str, str]:
    """Return URL, token and certificate of an endpoint, "" for none of them; raises NotFound."""
    if (remote := read_ray_endpoint(files_of(home, name).folder)) is not None:
        return remote.url, remote.token, ""
    files, config = existing(home, name)
    return url_of(config), files.read_token(), config.tls[0] if config.tls else ""


def served_bundle(name: str, *, home: Path) -> Path:
    """Return the folder of the first model that an endpoint serves; raises NotFound."""
    files, config = existing(home, name)
    return files.bundle(config.version, config.models(config.version)[0].name)


# Parts


def _check_token(token: str) -> None:
    if token and (len(token) < _LEAST_TOKEN or not token.isascii()):
        raise BadValue("--token", f"it must have at least {_LEAST_TOKEN} ASCII characters")


def _remove(files: EndpointFiles, name: str, jobs: Jobs) -> None:
    if any(job.spec.name == name for job in jobs.all()):
        jobs.remove(name)
    shutil.rmtree(files.folder, ignore_errors=True)


def _next_version(config: EndpointConfig) -> int:
    return max([config.version, *map(int, config.variants)]) + 1


def _exchange(
    files: EndpointFiles, config: EndpointConfig, version: int, added: tuple[VariantConfig, ...], *, home: Path
) -> EndpointStatus:
    """Serve another version; where it does not start, the one before goes on and the new one is removed."""
    earlier = (*config.earlier, config.version)[-_KEPT:]
    present = {str(number) for number in (*earlier, version)}
    variants = {number: of_version for number, of_version in config.variants.items() if number in present}
    variants[str(version)] = added
    changed = replace(config, version=version, earlier=earlier, variants=variants)
    try:
        return _change(files, changed, home=home)
    except ClearsightError:
        files.write_config(replace(config, generation=config.generation + 2))
        shutil.rmtree(files.version(version), ignore_errors=True)
        raise
    finally:
        for folder in (files.folder / "versions").iterdir():
            if folder.name.isdigit() and int(folder.name) not in (*earlier, config.version, version):
                shutil.rmtree(folder, ignore_errors=True)


def _change(files: EndpointFiles, config: EndpointConfig, *, home: Path) -> EndpointStatus:
    config = replace(config, generation=config.generation + 1)
    files.write_config(config)
    with jobs_of(home) as jobs:
        _wait_for(files, config, jobs, time.monotonic() + _START_SECONDS)
        return status(config.name, home=home, jobs=jobs)


def _wait_for(files: EndpointFiles, config: EndpointConfig, jobs: Jobs, deadline: float) -> None:
    """Return once the pool has carried out a configuration; raises ClearsightError where it cannot."""
    what = f"endpoint {config.name}"
    while True:
        pool, job = files.read_state(), jobs.get(config.name).state
        if pool is not None and pool.generation >= config.generation:
            return
        if pool is not None and pool.failed >= config.generation:
            raise ClearsightError(what, f"the new version does not start, the old one goes on: {pool.reason}")
        if job.status.ended:
            raise ClearsightError(what, f"it does not run: {job.reason}")
        if time.monotonic() > deadline:
            raise ClearsightError(what, f"its workers did not all answer within {_START_SECONDS:g} s")
        time.sleep(_POLL_SECONDS)


def _job(config: EndpointConfig, files: EndpointFiles, environment: Mapping[str, str]) -> JobSpec:
    return JobSpec(
        name=config.name,
        command=(sys.executable, "-m", _MODULE, str(files.folder.absolute())),
        folder=files.folder.absolute(),
        environment=environment,
        restart="always",
        health=HealthCheck(url=f"{url_of(config)}/livez", start_seconds=_START_SECONDS),
        stop_seconds=45.0,
    )


def _port(host: str, port: int) -> int:
    """Return the port, which must be free, or a free one for 0. Raises BadValue."""
    with listening(host, port) as listener:
        return int(listener.getsockname()[1])


def default_workers() -> int:
    """Return the workers of `--workers auto`: one for two cores, since each uses several for decoding and inference."""
    return max(1, cores() // 2)
