"""clearsight transform: the classes of any number of images, written to a file or a folder."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clearsight.cli.shared import MAX_PIXELS, AsJson, Device, MaxPixels, Model, command_app
from clearsight.core.safe_text import printable_line
from clearsight.workflow.display.terminal import Terminal

EPILOG = """INPUT: a folder (all images below it), a quoted glob pattern, a zip or tar,
an HDF5 file of images, a CSV with a column of paths, a .jsonl with a path or
base64 per line, or - for paths on stdin, one per line.
OUTPUT: a .jsonl, .csv or .parquet file with a row per image, in the order of
INPUT; or a folder, which gets the JSON of an endpoint per image (1.jpg.out).
A command that was interrupted or killed goes on when it is given again.
Exit code 2 if no image can be read.

Examples:
  clearsight transform runs/first photos/ predictions.jsonl
  clearsight transform model.tar.gz photos.zip predictions.parquet --batch-size 64
  clearsight transform endpoint:dogs list.csv answers/
  find /data -name '*.jpg' | clearsight transform runs/first - predictions.csv
"""


class OnError(StrEnum):
    """Choice at an image that cannot be read: skip records it and goes on, stop ends the command."""

    SKIP = "skip"
    STOP = "stop"


def transform(
    model: Model,
    input: Annotated[
        str,
        typer.Argument(help="folder, glob, zip, tar, HDF5, CSV, JSONL, or - for paths on stdin", show_default=False),
    ],
    output: Annotated[Path, typer.Argument(help=".jsonl, .csv or .parquet file, or a folder", show_default=False)],
    batch_size: Annotated[int, typer.Option(help="images that the network gets at a time", min=1)] = 32,
    workers: Annotated[
        int | None,
        typer.Option(
            help="threads that decode, or requests at a time to an endpoint \\[default: one per core, or 4]", min=1
        ),
    ] = None,
    on_error: Annotated[
        OnError, typer.Option(help="at an image that cannot be read: record its error and go on, or stop")
    ] = OnError.SKIP,
    restart: Annotated[bool, typer.Option("--restart", help="write an output again that is there already")] = False,
    device: Device = "cpu",
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: AsJson = False,
) -> int:
    """Classify any number of images into a file or a folder, and go on where an earlier command ended."""
    from clearsight.workflow.paths import Paths
    from clearsight.workflow.transform.transform import TransformOptions
    from clearsight.workflow.transform.transform import transform as classify

    options = TransformOptions(
        batch_size=batch_size,
        workers=workers,
        on_error=str(on_error),
        restart=restart,
        device=device,
        max_pixels=max_pixels,
    )
    terminal = Terminal(as_json=as_json)
    terminal.unit = "images"
    done = total = 0

    def show(activity: str, now: int, of: int) -> None:
        nonlocal done, total
        done, total = now, of
        terminal.progress(activity, now, of)

    try:
        with terminal.working():
            source = _stdin_paths() if input == "-" else input
            result = classify(model, source, output, options, progress=show, paths=Paths.of(os.environ))
    except BaseException:  # also an interrupt: whatever ended it, the output can be continued
        if done < total:
            command = "the same command without --restart" if restart else "the same command"
            line = f"{done:,} of {total:,} images are in {output}; {command} goes on from there."
            print(printable_line(line), file=sys.stderr)
        raise
    terminal.print_result(result.to_json(), result.lines())
    return 2 if result.errors == result.images else 0


def _stdin_paths() -> list[str]:
    """Return the paths on stdin, one per line; bytes that are not UTF-8 are those of file names."""
    lines = (line.rstrip(b"\r\n") for line in sys.stdin.buffer)
    return [os.fsdecode(line) for line in lines if line]


app = command_app(transform, EPILOG)
