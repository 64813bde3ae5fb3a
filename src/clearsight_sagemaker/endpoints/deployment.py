"""Deployment: an endpoint configuration with its models, as they were when an endpoint was created or updated.

Neither the configuration nor the models are looked up again: both may be deleted while the endpoint serves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

PROCESS_PREFIX = "endpoint-"


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantDeployment:
    """A production variant. weight: its part of the requests, against the sum of all.  count: of model servers.

    container: PrimaryContainer of the model.  serverless: ServerlessConfig, {} for none.
    start_seconds: for the model to load, 0 for the default.
    """

    name: str
    model: str
    container: Mapping[str, Any]
    weight: float = 1.0
    count: int = 1
    instance_type: str = ""
    serverless: Mapping[str, Any]
    start_seconds: int = 0
    no_network: bool = False

    @property
    def server_request(self) -> dict[str, Any]:
        """Return request.json of its model servers."""
        request: dict[str, Any] = {"PrimaryContainer": dict(self.container), "InstanceType": self.instance_type}
        if self.start_seconds:
            request["ContainerStartupHealthCheckTimeoutInSeconds"] = self.start_seconds
        return {**request, "EnableNetworkIsolation": self.no_network}


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """Variants of an endpoint. number: 1 for the first, one more with each update.  config: name.

    capture: DataCaptureConfig, asynchronous: AsyncInferenceConfig; {} for none.
    """

    number: int
    config: str
    variants: tuple[VariantDeployment, ...]
    capture: Mapping[str, Any]
    asynchronous: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, from which `from_json` makes the same again."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Deployment:
        """Return the deployment of `to_json`."""
        return cls(**{**values, "variants": tuple(VariantDeployment(**variant) for variant in values["variants"])})

    def variant(self, name: str) -> VariantDeployment | None:
        """Return a variant; None where there is none of that name."""
        return next((variant for variant in self.variants if variant.name == name), None)

    def with_variant(self, name: str, **values: Any) -> Deployment:
        """Return the deployment with other values of a variant."""
        changed = [replace(variant, **values) if variant.name == name else variant for variant in self.variants]
        return replace(self, variants=tuple(changed))


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceName:
    """Name of a model server. endpoint: its name.  created: time of the endpoint, by which later ones differ."""

    endpoint: str
    created: float
    deployment: int
    variant: str
    index: int

    @property
    def identity(self) -> str:
        """Return the identity that logs show, "i-0123456789abcdef0"."""
        return f"i-{self._digest[:17]}"

    @property
    def process(self) -> str:
        """Return the name of its process among those of the supervisor."""
        return f"{PROCESS_PREFIX}{self.endpoint[:36].rstrip('-')}-{self._digest[:16]}"

    def folder(self, home: Path) -> Path:
        """Return its folder. home: of all endpoints."""
        return home / self.endpoint / "instances" / self.identity

    def log(self, home: Path) -> Path:
        """Return its log, which stays when the endpoint is deleted."""
        return home / self.endpoint / "logs" / self.variant / f"{self.identity}.txt"

    @property
    def _digest(self) -> str:
        text = f"{self.endpoint}/{self.created}/{self.deployment}/{self.variant}/{self.index}"
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointDocument:
    """Document of an endpoint's row. deployments: those that have processes.

    serving: number of the one that requests go to, 0 for none.  target: of the one that they should go to.
    reason: why the endpoint, or its last update, failed; "" for neither.
    """

    arn: str
    deployments: tuple[Deployment, ...]
    serving: int = 0
    target: int = 1
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, from which `from_json` makes the same again."""
        return {**asdict(self), "deployments": [deployment.to_json() for deployment in self.deployments]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EndpointDocument:
        """Return the document of `to_json`."""
        deployments = tuple(Deployment.from_json(deployment) for deployment in values["deployments"])
        return cls(**{**values, "deployments": deployments})

    def deployment(self, number: int) -> Deployment | None:
        """Return a deployment; None where there is none of that number."""
        return next((deployment for deployment in self.deployments if deployment.number == number), None)

    @property
    def shown(self) -> Deployment:
        """Return the deployment that descriptions show: what serves, else what is being made."""
        return self.deployment(self.serving) or self.deployment(self.target) or self.deployments[-1]

    def replaced(self, deployment: Deployment) -> EndpointDocument:
        """Return the document with another deployment of the same number."""
        others = [deployment if other.number == deployment.number else other for other in self.deployments]
        return replace(self, deployments=tuple(others))


def instances(endpoint: str, created: float, deployment: Deployment) -> Iterator[InstanceName]:
    """Yield the model servers of a deployment."""
    for variant in deployment.variants:
        for index in range(variant.count):
            yield InstanceName(
                endpoint=endpoint, created=created, deployment=deployment.number, variant=variant.name, index=index
            )
