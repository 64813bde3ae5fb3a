"""EndpointRoutes: to which model servers the requests of an endpoint go, in memory: none waits for a database."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clearsight_sagemaker.endpoints.deployment import Deployment, InstanceName
from clearsight_sagemaker.endpoints.instance import Instance


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantRoute:
    """A variant and its model servers. weight: its part of the requests."""

    name: str
    weight: float
    instances: tuple[Instance, ...]

    def instance(self) -> Instance | None:
        """Return the model server with the fewest requests of those that listen; None where none does."""
        ready = [instance for instance in self.instances if instance.status.status == "ready"]
        return min(ready, key=lambda instance: instance.in_progress, default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointRoute:
    """An endpoint that serves. deployment: what it serves."""

    name: str
    deployment: Deployment
    variants: tuple[VariantRoute, ...]
    draws: random.Random = field(default_factory=random.Random)

    def variant(self, name: str) -> VariantRoute | None:
        """Return the variant of a name, or one that is drawn by the weights for ""; None where there is none."""
        if name:
            return next((variant for variant in self.variants if variant.name == name), None)
        weights = [variant.weight for variant in self.variants]
        if not sum(weights):
            return None
        return self.draws.choices(self.variants, weights)[0]


class EndpointRoutes:
    """Routes by the name of the endpoint. They are replaced as a whole, so that readers need no lock."""

    def __init__(self) -> None:
        self._routes: Mapping[str, EndpointRoute] = {}
        self._instances: dict[Path, Instance] = {}

    @property
    def count(self) -> int:
        """Return how many endpoints serve."""
        return len(self._routes)

    def get(self, endpoint: str) -> EndpointRoute | None:
        """Return the route of an endpoint; None for one that does not serve."""
        return self._routes.get(endpoint)

    def serve(self, endpoint: str, deployment: Deployment, names: Iterable[InstanceName], home: Path) -> None:
        """Let the requests of an endpoint go to model servers, from the next one on."""
        found: dict[str, list[Instance]] = {variant.name: [] for variant in deployment.variants}
        for name in names:
            folder = name.folder(home)
            instance = self._instances.setdefault(folder, Instance(name.variant, name.identity, folder))
            found[name.variant].append(instance)
        variants = tuple(
            VariantRoute(name=variant.name, weight=variant.weight, instances=tuple(found[variant.name]))
            for variant in deployment.variants
        )
        current = self._routes.get(endpoint)
        if current is None or (current.deployment, current.variants) != (deployment, variants):
            self._routes = {
                **self._routes,
                endpoint: EndpointRoute(name=endpoint, deployment=deployment, variants=variants),
            }

    def remove(self, endpoint: str) -> None:
        """Let an endpoint take no more requests."""
        if endpoint in self._routes:
            self._routes = {name: route for name, route in self._routes.items() if name != endpoint}

    def in_progress(self, folder: Path) -> int:
        """Return how many requests a model server has."""
        instance = self._instances.get(folder)
        return instance.in_progress if instance is not None else 0

    def close_connections(self) -> None:
        """Close the connections to all model servers; for the event loop."""
        for instance in self._instances.values():
            instance.close()

    def forget(self, folder: Path) -> None:
        """Forget a model server that has ended."""
        instance = self._instances.pop(folder, None)
        if instance is not None:
            instance.close_from_thread()
