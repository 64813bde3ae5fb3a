"""serve: an HTTP endpoint over a bundle. Nothing here imports torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette

from clearsight.core.bundle import Bundle, open_bundle
from clearsight.core.machine import cores
from clearsight.data.decode import MAX_PIXELS
from clearsight.serving.app import build_app
from clearsight.serving.request_body import Limits
from clearsight.serving.server import background
from clearsight.serving.server import serve as serve_app
from clearsight.serving.service import Service
from clearsight.workflow.deployment.options import chosen_option
from clearsight.workflow.predictors import open_predictor

log = logging.getLogger("clearsight.serving")  # the log that an endpoint shows


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeOptions:
    """Options of an endpoint."""

    host: str = "127.0.0.1"  # this machine alone: the endpoint asks for no password
    port: int = 8080
    runtime: str = "auto"
    threads: int | None = None  # of inference; None: all cores
    optimized: Path | None = None  # folder for onnxruntime's optimised networks; None optimises at each start
    max_pixels: int = MAX_PIXELS
    limits: Limits = Limits()  # noqa: RUF009 - a frozen value
    origins: tuple[str, ...] = ()  # of web pages that may use the endpoint from a browser


def serve(model: str | Path, options: ServeOptions, *, on_ready: Callable[[Bundle, str], None]) -> None:
    """Serve the run or bundle `model` until SIGINT or SIGTERM; `on_ready` gets the bundle and the URL."""
    with open_bundle(Path(model)) as bundle:
        serve_app(endpoint(bundle, options), options.host, options.port, on_ready=lambda url: on_ready(bundle, url))


@contextmanager
def serving(model: str | Path, options: ServeOptions) -> Iterator[str]:
    """Serve from a background thread for the duration of the block; yield the URL."""
    with open_bundle(Path(model)) as bundle, background(endpoint(bundle, options), options.host, options.port) as url:
        yield url


def endpoint(bundle: Bundle, options: ServeOptions) -> Starlette:
    """Return the ASGI application of a bundle; decoding and inference share the cores."""
    if options.runtime == "auto" and (option := chosen_option(bundle)) is not None:
        log.info("runtime %s, the fastest on this machine by clearsight benchmark", option.name)
    predictor = open_predictor(
        bundle,
        runtime=options.runtime,
        threads=options.threads,
        max_pixels=options.max_pixels,
        optimized=options.optimized,
    )
    return build_app(Service(predictor, decoders=cores()), options.limits, options.origins)
