"""Status of endpoints: what their jobs, pools and counters say now."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from clearsight.core.bundle import Bundle
from clearsight.core.errors import BadValue, ClearsightError, NotFound
from clearsight.jobs.client import Jobs, jobs_of
from clearsight.jobs.job import check_name
from clearsight.serving.endpoint_files import EndpointConfig, EndpointFiles, VariantConfig
from clearsight.serving.metrics import Totals, totals
from clearsight.serving.pool.worker_pool import memory_of
from clearsight.workflow.deployment.drift import drift
from clearsight.workflow.deployment.ray_endpoint import RayEndpoint, is_alive, read_ray_endpoint

_SPEED_SECONDS = 0.5  # between two looks at the counters, for requests per second


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantStatus:
    """A variant of an endpoint as it is now, where there are several.

    share: of the requests; 0 for a shadow.  compared: images that a shadow classified as well, and agreed: those to
    which it gave the class that was sent.
    """

    name: str
    model: str
    share: float
    requests: int
    errors: int
    p50: float
    p99: float
    classes: Mapping[str, int]
    confidence: float | None
    compared: int
    agreed: int
    drift: str

    def line(self) -> str:
        """Return the variant as a line for people."""
        times = f", p50 {1000 * self.p50:.0f} ms, p99 {1000 * self.p99:.0f} ms" if self.requests else ""
        errors = f", {self.errors} failed" if self.errors else ""
        role = f"{self.share:.3g} of the requests" if self.share else "shadow"
        same = f", same class on {self.agreed / self.compared:.1%} of {self.compared:,} images" if self.compared else ""
        return f"{self.name}: {self.model}, {role}: {self.requests:,} requests{errors}{times}{same}"


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointStatus:
    """An endpoint as it is now.

    status: of its job, "updating" while another version comes into service.  reason: of a failure, "" for none.
    speed: requests per second.  p50, p99: latencies in seconds since it was deployed.  errors: responses from 500 on.
    memory: bytes of all its processes.  classes: images by predicted class.  confidence: mean, None before the first.
    drift: how the predictions differ from those of validation, "" for no difference.  model: the first variant's.
    """

    name: str
    status: str
    url: str
    model: str
    version: int
    workers: int
    reason: str = ""
    speed: float = 0.0
    requests: int = 0
    p50: float = 0.0
    p99: float = 0.0
    errors: int = 0
    memory: int = 0
    replaced: int = 0
    classes: Mapping[str, int] = field(default_factory=dict)
    confidence: float | None = None
    drift: str = ""
    variants: tuple[VariantStatus, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def endpoints(*, home: Path) -> list[EndpointStatus]:
    """Return all endpoints, by name."""
    folders = sorted(path.parent.name for path in (home / "endpoints").glob("*/endpoint.json"))
    found = [read_ray_endpoint(path.parent) for path in (home / "endpoints").glob("*/ray.json")]
    remote = [ray_status(endpoint) for endpoint in found if endpoint is not None]
    if not folders:
        return sorted(remote, key=lambda status: status.name)
    with jobs_of(home) as jobs:
        jobs.all()  # with a supervisor, so that the states are those of now
        before = {name: _requests(totals(files_of(home, name).counters)) for name in folders}
        start = time.monotonic()
        time.sleep(_SPEED_SECONDS)
        seconds = time.monotonic() - start
        here = [status(name, home=home, jobs=jobs) for name in folders]
    here = [replace(status, speed=max(0, status.requests - before[status.name]) / seconds) for status in here]
    return sorted([*here, *remote], key=lambda status: status.name)


def ray_status(endpoint: RayEndpoint) -> EndpointStatus:
    """Return an endpoint on a Ray cluster, as far as it can be seen without the cluster: it has the counts."""
    alive = is_alive(endpoint)
    return EndpointStatus(
        name=endpoint.name,
        status="running" if alive else "unreachable",
        url=endpoint.url,
        model=endpoint.model,
        version=endpoint.version,
        workers=endpoint.replicas[0] if alive else 0,
        reason="" if alive else f"nothing answers there; see the cluster at {endpoint.address}",
    )


def status(name: str, *, home: Path, jobs: Jobs) -> EndpointStatus:
    """Return one endpoint as it is now. Raises NotFound."""
    files, config = existing(home, name)
    job = next((job for job in jobs.all() if job.spec.name == name), None)
    pool, sums = files.read_state(), totals(files.counters)
    word = str(job.state.status) if job is not None else "failed"
    reason = job.state.reason if job is not None else "its job is gone; deploy it again"
    if pool is not None and word == "running":
        if pool.failed == config.generation:
            reason = pool.reason
        elif pool.generation != config.generation:
            word = "updating"
    version = pool.version if pool is not None and pool.version else config.version
    models = config.models(version)
    bundle = _bundle(files, version, models[0])
    confidence = sums.confidence / sums.images if sums.images else None
    return EndpointStatus(
        name=name,
        status=word,
        url=url_of(config),
        model=models[0].model,
        version=version,
        workers=pool.ready if pool is not None and word in ("running", "updating") else 0,
        reason=reason,
        requests=_requests(sums),
        p50=sums.quantile(0.5),
        p99=sums.quantile(0.99),
        errors=sums.requests["5xx"],
        memory=memory_of(pool.pid) if pool is not None and word in ("running", "updating") else 0,
        replaced=pool.replaced if pool is not None else 0,
        classes=dict(zip(bundle.classes, sums.classes, strict=False)) if bundle is not None else {},
        confidence=confidence,
        drift=drift(bundle, sums.classes, confidence) if bundle is not None and confidence is not None else "",
        variants=tuple(_variant(files, version, model) for model in models) if len(models) > 1 else (),
    )


def _variant(files: EndpointFiles, version: int, config: VariantConfig) -> VariantStatus:
    sums, bundle = totals(files.variant_counters(config.name)), _bundle(files, version, config)
    confidence = sums.confidence / sums.images if sums.images else None
    return VariantStatus(
        name=config.name,
        model=config.model,
        share=config.share,
        requests=_requests(sums),
        errors=sums.requests["5xx"],
        p50=sums.quantile(0.5),
        p99=sums.quantile(0.99),
        classes=dict(zip(bundle.classes, sums.classes, strict=False)) if bundle is not None else {},
        confidence=confidence,
        compared=sums.compared,
        agreed=sums.agreed,
        drift=drift(bundle, sums.classes, confidence) if bundle is not None and confidence is not None else "",
    )


def files_of(home: Path, name: str) -> EndpointFiles:
    """Return the files of an endpoint, whether it exists or not."""
    return EndpointFiles(home / "endpoints" / check_name(name))


def existing(home: Path, name: str) -> tuple[EndpointFiles, EndpointConfig]:
    """Return the files and the configuration of an endpoint; raises NotFound."""
    files = files_of(home, name)
    if (files.folder / "ray.json").is_file():
        raise BadValue(f"endpoint {name}", "it is on a Ray cluster, where only update and scale can change it")
    if not files.config.is_file():
        names = sorted({path.parent.name for path in (home / "endpoints").glob("*/*.json")})
        fix = "" if names else "Deploy one with: clearsight deploy RUN --name NAME"
        raise NotFound(f"endpoint {name}", "there is no endpoint of this name", got=name, allowed=names, fix=fix)
    return files, files.read_config()


def url_of(config: EndpointConfig) -> str:
    """Return the address that a client on this machine opens."""
    scheme = "https" if config.tls else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)
    return f"{scheme}://[{host}]:{config.port}" if ":" in host else f"{scheme}://{host}:{config.port}"


def _requests(sums: Totals) -> int:
    return sum(sums.requests.values())


def _bundle(files: EndpointFiles, version: int, variant: VariantConfig) -> Bundle | None:
    if variant.entry_point:
        return None
    try:
        return Bundle.describe(files.bundle(version, variant.name))
    except ClearsightError:  # damaged on disk: its workers go on with what they have loaded
        return None
