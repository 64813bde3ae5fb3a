"""clearsight export: a model as one file, or in another form that its bundle then has too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from clearsight.cli.shared import AsJson, Model, command_app
from clearsight.core.format import size
from clearsight.core.safe_text import printable_line
from clearsight.workflow.display.terminal import Terminal

EPILOG = """A form that --to writes gets into the bundle only if it agrees with the network in torch on labelled images.

Examples:
  clearsight export runs/first --out model.tar.gz
  clearsight export last --format onnx
  clearsight export runs/first --to onnx --quantize int8
  clearsight export runs/first --to openvino --gate-data new-photos/
"""


def export(
    model: Model,
    out: Annotated[Path | None, typer.Option(help="file to write \\[default: model.tar.gz, model.onnx ...]")] = None,
    format: Annotated[
        str, typer.Option(help="bundle, onnx or safetensors \\[default: by the name of the file, else bundle]")
    ] = "",
    to: Annotated[str, typer.Option(help="put the network into its bundle as onnx, openvino or torch-export")] = "",
    quantize: Annotated[str, typer.Option(help="int8: 8 bits, calibrated on training images")] = "",
    fp16: Annotated[bool, typer.Option("--fp16", help="weights in float16")] = False,
    embed_preprocessing: Annotated[
        bool, typer.Option("--embed-preprocessing", help="the ONNX graph takes uint8 pixels and prepares them itself")
    ] = False,
    gate_data: Annotated[
        Path | None,
        typer.Option(help="labelled images to compare on \\[default: the validation images of the training]"),
    ] = None,
    max_accuracy_loss: Annotated[
        float | None,
        typer.Option(help="share of the images that may be lost \\[default: 0.005]", min=0, max=1),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write a model as one file (.tar.gz, ONNX or weights), or with --to in another form into its bundle."""
    from clearsight.workflow.export import MAX_ACCURACY_LOSS, check_flags, export_to
    from clearsight.workflow.export import export as write
    from clearsight.workflow.paths import Paths

    needing_to = {
        "--quantize": quantize,
        "--fp16": fp16,
        "--embed-preprocessing": embed_preprocessing,
        "--gate-data": gate_data,
        "--max-accuracy-loss": max_accuracy_loss is not None,
    }
    check_flags(to, needing_to, {"--out": out, "--format": format})
    terminal = Terminal(as_json=as_json)
    if not to:
        path = write(model, out, format=format)
        bytes_written = path.stat().st_size
        result = {"path": str(path), "size": bytes_written}
        terminal.print_result(result, [printable_line(f"{path}  ({size(bytes_written)})")])
        return 0
    with terminal.working():
        exported = export_to(
            model,
            to,
            quantize=quantize,
            fp16=fp16,
            embed_preprocessing=embed_preprocessing,
            gate_data=gate_data,
            max_accuracy_loss=MAX_ACCURACY_LOSS if max_accuracy_loss is None else max_accuracy_loss,
            paths=Paths.of(os.environ),
            progress=terminal.progress,
        )
    terminal.print_result(exported.to_json(), exported.lines())
    return 0


app = command_app(export, EPILOG)
