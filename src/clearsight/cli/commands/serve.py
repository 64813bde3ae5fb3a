"""clearsight serve."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from clearsight.cli.shared import Model
from clearsight.core.bundle import Bundle

EPILOG = """Examples:

  clearsight serve runs/first --port 8080

  curl -H 'Content-Type: image/jpeg' --data-binary @cat.jpg http://127.0.0.1:8080/invocations
"""


def serve(
    model: Model,
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0 lets other machines in")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one", min=0, max=65535)] = 8080,
    runtime: Annotated[str, typer.Option(help="onnxruntime or openvino")] = "onnxruntime",
    threads: Annotated[int | None, typer.Option(help="cores for inference \\[default: all]", min=1)] = None,
    max_pixels: Annotated[int, typer.Option(help="refuse images with more pixels than this", min=1)] = 50_000_000,
) -> int:
    """Answer over HTTP: GET /ping, POST /invocations with an image, until Ctrl-C. The process never loads torch."""
    from clearsight.workflow.serve import ServeOptions
    from clearsight.workflow.serve import serve as run

    def ready(bundle: Bundle, url: str) -> None:
        print(f"serving {bundle.model} with {len(bundle.classes)} classes on {url}  (Ctrl-C stops)", flush=True)
        print(f"try: curl -H 'Content-Type: image/jpeg' --data-binary @IMAGE.jpg {url}/invocations", flush=True)

    logging.getLogger("clearsight.serving").setLevel(logging.INFO)
    how = ServeOptions(host=host, port=port, runtime=runtime, threads=threads, max_pixels=max_pixels)
    run(model, how, on_ready=ready)
    return 0


app = typer.Typer(add_completion=False, rich_markup_mode="rich")
app.command(epilog=EPILOG)(serve)
