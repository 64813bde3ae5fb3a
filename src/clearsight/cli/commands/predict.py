"""clearsight predict: the classes of images."""

from __future__ import annotations

from typing import Annotated

import typer

from clearsight.cli.shared import MAX_PIXELS, AsJson, Device, MaxPixels, Model, command_app
from clearsight.workflow.display.terminal import Terminal

EPILOG = """Examples:
  clearsight predict runs/first cat.jpg dog.png
  clearsight predict model.tar.gz holiday/ 'more/**/*.jpg' --top 3 --json
"""


def predict(
    model: Model,
    paths: Annotated[list[str], typer.Argument(help="images, folders or glob patterns", show_default=False)],
    top: Annotated[int, typer.Option(help="classes listed per image", min=1)] = 5,
    device: Device = "cpu",
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: AsJson = False,
) -> int:
    """Classify images. An image that cannot be read is listed with the reason; exit code 2 if none can be read."""
    from clearsight.workflow.predict import predict as classify

    terminal = Terminal(as_json=as_json)
    with terminal.working():
        rows = classify(model, paths, top=top, device=device, max_pixels=max_pixels, progress=terminal.progress)
    if as_json:
        terminal.print_json([row.to_json() for row in rows])
    else:
        width = max(len(row.path) for row in rows)
        for row in rows:
            ranked = "  ".join(f"{label} {probability:.3f}" for label, probability in row.top)
            terminal.print(f"{row.path:<{width}}  {ranked or f'cannot be read: {row.error}'}")
    return 2 if all(row.error for row in rows) else 0


app = command_app(predict, EPILOG)
