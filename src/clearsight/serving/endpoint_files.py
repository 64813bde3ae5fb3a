"""Files of a deployed endpoint: what commands ask for, and what its processes report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadData, BadValue
from clearsight.core.files import read_json, write_json
from clearsight.serving.data_capture import CaptureOptions

MAIN = "main"  # name of a variant that nobody named


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantConfig:
    """A model of an endpoint. share: of the requests; 0 for a shadow, whose responses are not sent.

    model: its name, for people.  entry_point: file in code/ that serves it, "" for a bundle.  python: interpreter of
    that file, "" for that of the endpoint.
    """

    name: str = MAIN
    share: float = 1.0
    model: str = ""
    entry_point: str = ""
    python: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointConfig:
    """Configuration of an endpoint; commands write it, its pool follows it.

    version: number of what is served, a folder in versions/.  earlier: those before it, the newest last.
    variants: models of each version, by its number as text.
    workers: processes at least and at most.  threads: of inference in each; 0 for its share of the cores.
    origins: of web pages that may use it.  generation: grows with every change.
    capture: of requests and responses, None for none.  tls: files of certificate and key, () for plain HTTP.
    memory: bytes that a worker may hold before another takes its place, 0 for no limit.
    """

    name: str
    host: str
    port: int
    version: int
    runtime: str
    workers: tuple[int, int]
    threads: int = 0
    max_pixels: int = 0
    origins: tuple[str, ...] = ()
    earlier: tuple[int, ...] = ()
    generation: int = 1
    variants: Mapping[str, tuple[VariantConfig, ...]] = field(default_factory=dict)
    capture: CaptureOptions | None = None
    tls: tuple[str, ...] = ()
    memory: int = 0

    def __post_init__(self) -> None:
        least, most = self.workers
        if not 1 <= least <= most:
            raise BadValue(f"workers {least} to {most}", "the first must be 1 or more, the second no less than it")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EndpointConfig:
        """Return the configuration that `asdict` and JSON made."""
        lists = {name: tuple(values[name]) for name in ("workers", "origins", "earlier", "tls")}
        variants = {
            version: tuple(VariantConfig(**variant) for variant in of_version)
            for version, of_version in values["variants"].items()
        }
        capture = values["capture"]
        if capture is not None:
            types = {name: tuple(capture[name]) for name in ("csv_types", "json_types")}
            capture = CaptureOptions(**{**capture, **types})
        return cls(**{**values, **lists, "variants": variants, "capture": capture})

    def models(self, version: int) -> tuple[VariantConfig, ...]:
        """Return the models of a version."""
        return self.variants.get(str(version), (VariantConfig(),))


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerState:
    """A worker process. status: starting, ready or draining."""

    pid: int
    version: int
    status: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolState:
    """State of the processes of an endpoint.

    generation: of the configuration that is carried out completely, 0 for none.  version: that is served.
    failed: a generation that could not be carried out, and `reason` why; 0 and "" for none.
    replaced: workers that ended unasked.
    """

    pid: int
    generation: int = 0
    version: int = 0
    failed: int = 0
    reason: str = ""
    replaced: int = 0
    workers: tuple[WorkerState, ...] = ()

    @property
    def ready(self) -> int:
        """Workers that answer."""
        return sum(worker.status == "ready" for worker in self.workers)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PoolState:
        """Return the state that `asdict` and JSON made."""
        return cls(**{**values, "workers": tuple(WorkerState(**worker) for worker in values["workers"])})


@dataclass(frozen=True, slots=True)
class EndpointFiles:
    """Paths in the folder of an endpoint."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "endpoint.json"

    @property
    def state(self) -> Path:
        return self.folder / "state.json"

    @property
    def token(self) -> Path:
        """File with the token that clients must send; missing where none is asked for."""
        return self.folder / "token"

    @property
    def counters(self) -> Path:
        """Folder of the counters of its workers."""
        return self.folder / "counters"

    @property
    def optimized(self) -> Path:
        """Folder of the networks that onnxruntime has optimised for this machine; its workers share them."""
        return self.folder / "optimized"

    def version(self, version: int) -> Path:
        """Folder of a version, with a folder for each of its models."""
        return self.folder / "versions" / str(version)

    def bundle(self, version: int, variant: str = MAIN) -> Path:
        """Folder of a model of a version."""
        return self.version(version) / variant

    def variant_counters(self, variant: str) -> Path:
        """Folder of the counters of a variant, where an endpoint has several."""
        return self.folder / "variants" / variant

    def read_config(self) -> EndpointConfig:
        """Return the configuration; raises BadData for a damaged file."""
        try:
            return EndpointConfig.from_json(read_json(self.config))
        except (KeyError, TypeError, ValueError) as error:
            raise BadData(str(self.config), f"it is damaged ({error})", fix="Deploy the endpoint again.") from None

    def write_config(self, config: EndpointConfig) -> None:
        """Write the configuration."""
        write_json(self.config, asdict(config))

    def read_state(self) -> PoolState | None:
        """Return what its processes report; None before the first report."""
        if not self.state.is_file():
            return None
        return PoolState.from_json(read_json(self.state))

    def write_state(self, state: PoolState) -> None:
        """Write what the processes report."""
        write_json(self.state, asdict(state))

    def read_token(self) -> str:
        """Return the token; "" where none is asked for."""
        return self.token.read_text(encoding="utf-8").strip() if self.token.is_file() else ""

    def modified(self) -> int:
        """Return when the configuration was written, in nanoseconds."""
        return os.stat(self.config).st_mtime_ns
