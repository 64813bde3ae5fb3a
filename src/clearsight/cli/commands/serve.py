"""clearsight serve: a model behind an HTTP endpoint."""

from __future__ import annotations

import logging
import os
from typing import Annotated

import typer

from clearsight.cli.shared import MAX_PIXELS, MaxPixels, Model, command_app
from clearsight.core.bundle import Bundle
from clearsight.core.safe_text import printable_line

EPILOG = """Examples:
  clearsight serve runs/first --port 8080
  curl -H 'Content-Type: image/jpeg' --data-binary @cat.jpg http://127.0.0.1:8080/invocations
"""


def serve(
    model: Model,
    # Not 0.0.0.0 by default: the endpoint has no authentication.
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0 accepts other machines")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on; 0 uses a free one", min=0, max=65535)] = 8080,
    runtime: Annotated[
        str,
        typer.Option(
            help="onnx, openvino, torch, torch-export, or an exported model such as onnx-int8; auto is the fastest "
            "that clearsight benchmark found on this machine, else onnx"
        ),
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="cores for inference \\[default: all]", min=1)] = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="origin of web pages that may use the endpoint, such as http://localhost:3000; * is any",
        ),
    ] = None,
) -> int:
    """Serve a model over HTTP until Ctrl-C: GET /ping, POST /invocations with an image. Needs no torch."""
    from clearsight.workflow.paths import Paths
    from clearsight.workflow.serve import ServeOptions
    from clearsight.workflow.serve import serve as serve_model

    def ready(bundle: Bundle, url: str) -> None:
        model_name = printable_line(bundle.model)
        print(f"serving {model_name} with {len(bundle.classes)} classes on {url}  (Ctrl-C stops)", flush=True)
        print(f"try: curl -H 'Content-Type: image/jpeg' --data-binary @IMAGE.jpg {url}/invocations", flush=True)

    logging.getLogger("clearsight.serving").setLevel(logging.INFO)  # the access log, one line per request
    origins = tuple(allow_origin or ())
    options = ServeOptions(
        host=host,
        port=port,
        runtime=runtime,
        threads=threads,
        max_pixels=max_pixels,
        origins=origins,
        optimized=Paths.of(os.environ).optimized,
    )
    serve_model(model, options, on_ready=ready)
    return 0


app = command_app(serve, EPILOG)
