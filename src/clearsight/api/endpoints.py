"""deploy and endpoint, from Python: models behind endpoints that outlive the program."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearsight.api.deployment import predict
from clearsight.api.signature import path_of

if TYPE_CHECKING:
    from clearsight.workflow.deployment.endpoint_status import EndpointStatus
    from clearsight.workflow.deployment.versions import ModelSource
    from clearsight.workflow.results.predictions import Predictions


class DeployedEndpoint:
    """A deployed model, which goes on without this process. name, url: of the endpoint."""

    def __init__(self, status: EndpointStatus) -> None:
        self.name, self.url = status.name, status.url

    def predict(self, images: Any, *, top: int = 5) -> Predictions:
        """Classify images: paths, bytes, arrays, PIL images, tensors, or a list of them, as `clearsight.predict`."""
        return predict(f"endpoint:{self.name}", images, top=top, progress=False)

    @property
    def status(self) -> EndpointStatus:
        """Status, workers, requests, latencies and errors as they are now."""
        from clearsight.core.errors import NotFound
        from clearsight.workflow.deployment.endpoint_status import endpoints

        found = next((status for status in endpoints(home=_home()) if status.name == self.name), None)
        if found is None:
            raise NotFound(f"endpoint {self.name}", "there is no endpoint of this name any more")
        return found

    def update(
        self,
        model: str | Path | Any,
        *,
        variants: Mapping[str, tuple[Any, float]] | None = None,
        shadows: Mapping[str, Any] | None = None,
        entry_point: str = "",
        trust: bool = False,
    ) -> DeployedEndpoint:
        """Serve another model, as `deploy` does, without losing a request; return this endpoint."""
        from clearsight.workflow.deployment import deploy

        deploy.update(
            self.name,
            path_of(model, "runs"),
            home=_home(),
            variants=_sources(variants, shadows),
            entry_point=entry_point,
            environment=dict(os.environ),
            trust=trust,
        )
        return self

    def weigh(self, **shares: float) -> DeployedEndpoint:
        """Give variants other shares of the requests, such as b=0.5, and the others the rest; return this endpoint."""
        from clearsight.workflow.deployment import deploy

        deploy.weigh(self.name, shares, home=_home())
        return self

    def rollback(self) -> DeployedEndpoint:
        """Serve the model before the present one again; return this endpoint."""
        from clearsight.workflow.deployment import deploy

        deploy.rollback(self.name, home=_home())
        return self

    def scale(self, workers: int, most: int | None = None) -> DeployedEndpoint:
        """Serve with so many workers, or with a number up to `most` that follows the load; return this endpoint."""
        from clearsight.workflow.deployment import deploy

        deploy.scale(self.name, (workers, most or workers), home=_home())
        return self

    def delete(self) -> None:
        """End the endpoint once its requests in progress are answered."""
        from clearsight.workflow.deployment import deploy

        deploy.undeploy(self.name, home=_home())

    def __repr__(self) -> str:
        return f"<DeployedEndpoint {self.name} {self.url}>"


def deploy(
    model: str | Path | Any,
    *,
    name: str,
    workers: int | tuple[int, int] = 1,
    host: str = "127.0.0.1",
    port: int = 0,
    runtime: str = "auto",
    threads: int = 0,
    token: str = "",
    entry_point: str = "",
    variants: Mapping[str, tuple[Any, float]] | None = None,
    shadows: Mapping[str, Any] | None = None,
    capture: str | Path | None = None,
    capture_share: float = 1.0,
    tls: tuple[str | Path, str | Path] | None = None,
    max_memory: int = 0,
    on: str = "",
    trust: bool = False,
) -> DeployedEndpoint:
    """Serve a model from background processes that outlive this one; return the endpoint.

    model: a run, a bundle, or a folder or archive with code/inference.py and its own code/requirements.txt.
    entry_point: file in code/ that serves it, "" for a bundle as it is.  variants: name -> (model, share of the
    requests).  shadows: name -> model that gets copies of the requests.  capture: folder for a share of the requests
    and responses.  tls: files of certificate and key.  max_memory: bytes after which a worker is replaced, 0 for none.
    trust: run the code that comes with a model.  on: "ray" or the address of a Ray cluster, for replicas of Ray Serve.
    workers: processes that answer, or (least, most) for a number that follows the load.  port: 0 uses a free one.
    threads: cores for inference of each worker, 0 for its share.  token: that clients must send.
    Raises BadValue for a name that is in use, ClearsightError with the reason where the endpoint does not work.
    """
    from clearsight.workflow.deployment.deploy import DeployOptions, capture_options, deploy_to_ray
    from clearsight.workflow.deployment.deploy import deploy as deploy_model

    pair = (workers, workers) if isinstance(workers, int) else workers
    options = DeployOptions(
        host=host,
        port=port,
        runtime=runtime,
        threads=threads,
        workers=pair,
        token=token,
        entry_point=entry_point,
        variants=_sources(variants, shadows),
        memory=max_memory,
        trust=trust,
        capture=capture_options(capture, capture_share),
        tls=tuple(map(str, tls or ())),
    )
    path = path_of(model, "runs")
    if on:
        return DeployedEndpoint(deploy_to_ray(path, name, options, address=on, home=_home()))
    return DeployedEndpoint(deploy_model(path, name, options, home=_home(), environment=dict(os.environ)))


def endpoint(name: str) -> DeployedEndpoint:
    """Return a deployed endpoint by name; raises NotFound."""
    from clearsight.core.errors import NotFound
    from clearsight.workflow.deployment.endpoint_status import endpoints

    found = {status.name: status for status in endpoints(home=_home())}
    if name not in found:
        raise NotFound(f"endpoint {name}", "there is no endpoint of this name", got=name, allowed=found)
    return DeployedEndpoint(found[name])


def _sources(
    variants: Mapping[str, tuple[Any, float]] | None, shadows: Mapping[str, Any] | None
) -> tuple[ModelSource, ...]:
    from clearsight.workflow.deployment.versions import named_source

    shares = {**(variants or {})} | {name: (model, 0.0) for name, model in (shadows or {}).items()}
    return tuple(named_source(name, path_of(model, "runs"), share) for name, (model, share) in shares.items())


def _home() -> Path:
    from clearsight.workflow.paths import Paths

    return Paths.of(os.environ).home
