"""clearsight predict."""

from __future__ import annotations

from typing import Annotated

import typer

from clearsight.cli.shared import AsJson, Model
from clearsight.cli.terminal import Terminal

EPILOG = """Examples:

  clearsight predict runs/first cat.jpg dog.png

  clearsight predict model.tar.gz holiday/ 'more/**/*.jpg' --top 3 --json
"""


def predict(
    model: Model,
    paths: Annotated[list[str], typer.Argument(help="images, folders, globs", show_default=False)],
    top: Annotated[int, typer.Option(help="classes listed per image", min=1)] = 5,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N")] = "cpu",
    max_pixels: Annotated[int, typer.Option(help="refuse images with more pixels than this", min=1)] = 50_000_000,
    as_json: AsJson = False,
) -> int:
    """Classify images. One that cannot be read gets its reason instead of an answer; exit code 2 if all are so."""
    from clearsight.workflow.predict import predict as classify

    terminal = Terminal(as_json=as_json)
    with terminal.working():
        answers = classify(model, paths, top=top, device=device, max_pixels=max_pixels, progress=terminal.progress)
    if as_json:
        terminal.result([answer.to_json() for answer in answers])
    else:
        width = max(len(answer.path) for answer in answers)
        for answer in answers:
            ranked = "  ".join(f"{label} {probability:.3f}" for label, probability in answer.top)
            terminal.say(f"{answer.path:<{width}}  {ranked or f'cannot be read: {answer.error}'}")
    return 2 if all(answer.error for answer in answers) else 0


app = typer.Typer(add_completion=False, rich_markup_mode="rich")
app.command(epilog=EPILOG)(predict)
