"""Processes of a deployed endpoint: its pool, and the workers that the pool starts. Nothing here imports torch.

python -m clearsight.workflow.deployment.endpoint_process FOLDER
python -m clearsight.workflow.deployment.endpoint_process FOLDER VERSION LISTENER REPORT PARENT CONNECTIONS STATES
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from pathlib import Path

from starlette.types import ASGIApp

from clearsight.core.bundle import Bundle
from clearsight.core.errors import ClearsightError
from clearsight.core.machine import cores
from clearsight.data.decode import MAX_PIXELS
from clearsight.serving.app import build_app
from clearsight.serving.data_capture import DataCapture
from clearsight.serving.endpoint_files import EndpointConfig, EndpointFiles, VariantConfig
from clearsight.serving.handlers.model import HandlerCode, HandlerModel
from clearsight.serving.metrics import WorkerCounters
from clearsight.serving.pool.connections import SharedConnections, is_supported
from clearsight.serving.pool.worker_pool import FAILED, READY, STOPPED, WorkerPool
from clearsight.serving.request_body import Limits
from clearsight.serving.served_model import ServedModel
from clearsight.serving.server import listening, serve_socket, tls_context
from clearsight.serving.service import Service
from clearsight.serving.variants import Variant, Variants
from clearsight.workflow.predictors import open_predictor

_CODE_SECONDS = 60.0  # that a model's own code may take for a response, as in SageMaker's containers
_MODULE = "clearsight.workflow.deployment.endpoint_process"


def run_pool(files: EndpointFiles) -> None:
    """Keep the workers of an endpoint until SIGTERM; raises ClearsightError where they cannot be started."""
    config = files.read_config()

    def command(version: int, *descriptors: int, states: Path) -> list[str]:
        return [sys.executable, "-m", _MODULE, str(files.folder), str(version), *map(str, descriptors), str(states)]

    with listening(config.host, config.port, shared=True) as listener:
        asyncio.run(WorkerPool(files, listener, command).run())


def run_worker(
    files: EndpointFiles, version: int, listener: int, report: int, parent: int, connections: int, states: Path
) -> int:
    """Serve a version until SIGTERM or the end of the pool; return the exit code.

    listener: file descriptor of the listening socket.  report: of the pipe to the pool.  parent: of a pipe that is at
    its end when the pool has ended.  connections, states: socket and file for the connections that it shares with the
    pool.
    """
    try:
        app, config = worker_app(files, version), files.read_config()
        tls = tls_context(config.tls) if config.tls else None
        with socket.socket(fileno=listener) as shared, socket.socket(fileno=connections) as pool:
            serve_socket(
                app,
                shared,
                on_ready=lambda: _write(report, READY),
                on_stop=lambda: _write(report, STOPPED),
                parent=parent,
                tls=tls,
                # What is encrypted nobody else can answer.
                connections=SharedConnections(pool, states) if tls is None and is_supported() else None,
            )
    except Exception as error:  # whatever it is: the pool tells it to the one who deploys
        text = str(error) if isinstance(error, ClearsightError) else f"{type(error).__name__}: {error}"
        _write(report, FAILED + text.encode(errors="replace")[:2000] + b"\n")
        if not isinstance(error, ClearsightError):
            raise  # for the traceback in the log
        return 1
    return 0


def _write(pipe: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # the pool has ended
        os.write(pipe, data)


def worker_app(files: EndpointFiles, version: int) -> ASGIApp:
    """Return the application of a worker; raises ClearsightError for a model that cannot be served."""
    config = files.read_config()
    variants = config.models(version)
    threads = config.threads or max(1, cores() // config.workers[0])
    models = [_model(files, config, version, variant, threads) for variant in variants]
    classes = len(models[0].description.classes)
    counters = WorkerCounters(files.counters, classes)
    served, folders = models[0], {}
    if len(models) > 1:
        folders = {variant.name: files.variant_counters(variant.name) for variant in variants}
        served = Variants(
            [
                Variant(name=variant.name, share=variant.share, model=model, counters=WorkerCounters(folder, classes))
                for variant, model, folder in zip(variants, models, folders.values(), strict=True)
            ]
        )
    capture = DataCapture(config.capture, config.name, variants[0].name) if config.capture is not None else None
    return build_app(
        served,
        Limits(answer_seconds=_CODE_SECONDS) if any(variant.entry_point for variant in variants) else Limits(),
        config.origins,
        token=files.read_token(),
        counters=counters,
        variants=folders,
        capture=capture,
    )


def _model(
    files: EndpointFiles, config: EndpointConfig, version: int, variant: VariantConfig, threads: int
) -> ServedModel:
    """Return a model that has classified a test image, or whose code has loaded it."""
    folder = files.bundle(version, variant.name)
    if variant.entry_point:
        code = HandlerCode(
            folder=folder, entry_point=variant.entry_point, name=variant.model, python=variant.python, threads=threads
        )
        handler = HandlerModel(code)
        handler.start()
        return handler
    predictor = open_predictor(
        Bundle.open(folder),
        runtime=config.runtime,
        threads=threads,
        max_pixels=config.max_pixels or MAX_PIXELS,
        optimized=files.optimized,
    )
    predictor.canary()  # a model that cannot classify its test image must not be asked by a client first
    return Service(predictor, decoders=threads)


def main(words: list[str]) -> int:
    """Run a pool or a worker; return its exit code."""
    files = EndpointFiles(Path(words[0]))
    # Standard error is the log of the endpoint; its lines come from several processes.
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {os.getpid()} %(levelname)s %(message)s")
    if len(words) == 1:
        try:
            run_pool(files)
        except ClearsightError as error:
            print(error, file=sys.stderr)  # its last words, which become the reason of the job's failure
            return 1
        return 0
    version, listener, report, parent, connections = map(int, words[1:6])
    return run_worker(files, version, listener, report, parent, connections, Path(words[6]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
