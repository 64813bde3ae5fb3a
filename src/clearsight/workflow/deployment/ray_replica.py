"""Replica of an endpoint on Ray Serve: the application of `clearsight serve`, from a packed bundle. Needs no torch."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette

from clearsight.core.bundle import open_unpacked
from clearsight.core.files import unpack
from clearsight.data.decode import MAX_PIXELS
from clearsight.serving.app import build_app
from clearsight.serving.service import Service
from clearsight.workflow.predictors import open_predictor


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaOptions:
    """Options of each replica. threads: of decoding and inference.  max_pixels: 0 for the usual limit."""

    runtime: str = "auto"
    threads: int = 1
    max_pixels: int = 0
    origins: tuple[str, ...] = ()


def build(archive: bytes, options: ReplicaOptions, token: str) -> Starlette:
    """Return the application of a packed bundle; raises ClearsightError for one that cannot be served."""
    temporary = tempfile.TemporaryDirectory(prefix="clearsight-replica-")
    folder = Path(temporary.name)
    packed = folder / "bundle.tar.gz"
    packed.write_bytes(archive)
    unpack(packed, folder / "bundle")
    packed.unlink()
    bundle = open_unpacked(folder / "bundle", packed)
    predictor = open_predictor(
        bundle, runtime=options.runtime, threads=options.threads, max_pixels=options.max_pixels or MAX_PIXELS
    )
    predictor.canary()
    app = build_app(Service(predictor, decoders=options.threads), origins=options.origins, token=token)
    app.state.folder = temporary  # removed with the application
    return app
