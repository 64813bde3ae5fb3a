"""Functions of a model's own code, and what stands in for those that it leaves out.

The contract is that of SageMaker's PyTorch images: model_fn, input_fn, predict_fn, output_fn, or transform_fn in place
of the last three. A function that declares one parameter more gets a context with the folder of the model. Two known
defects of those images are not copied: model.pt is found whatever the working directory is, and a type that the
defaults do not read is the client's error.
"""

from __future__ import annotations

import csv
import importlib
import inspect
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

JSON, CSV, NPY, NPZ = "application/json", "text/csv", "application/x-npy", "application/x-npz"
_TEXT = (JSON, CSV)  # bodies that a function gets as str
_STEPS = ("input_fn", "predict_fn", "output_fn")
_ACCEPT = "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT"


class UnsupportedFormat(Exception):
    """Raised for a media type that the default functions do not read or write."""


@dataclass(frozen=True)
class Context:
    """Argument of a function that declares one parameter more. system_properties: "model_dir" and "gpu_id"."""

    system_properties: dict[str, Any] = field(default_factory=dict)


class HandlerFunctions:
    """Functions of the module `entry_point` in the folder of a model's code; "" for the defaults alone.

    code: by default code/ of the model. Raises whatever importing the module raises, ValueError for transform_fn beside
    one of the functions it replaces.
    """

    def __init__(self, model_dir: Path, entry_point: str, code: Path | None = None) -> None:
        self._model_dir = model_dir
        self._context = Context({"model_dir": str(model_dir), "gpu_id": None})
        sys.path.insert(0, str(code or model_dir / "code"))
        stem = Path(entry_point).stem
        self._module = importlib.import_module(stem) if stem else ModuleType("defaults")
        beside = [name for name in _STEPS if hasattr(self._module, name)]
        if hasattr(self._module, "transform_fn") and beside:
            raise ValueError(
                "Cannot use transform_fn implementation in conjunction with input_fn, predict_fn, and/or output_fn "
                f"implementation ({', '.join(beside)})"
            )

    def load(self) -> Any:
        """Return the model, warmed up where the module says how."""
        folder = str(self._model_dir)
        if hasattr(self._module, "pre_model_fn"):
            self._call("pre_model_fn", None, folder)
        model = self._call("model_fn", default_model, folder)
        if hasattr(self._module, "model_warmup_fn"):
            self._call("model_warmup_fn", None, folder, model)
        return model

    def respond(self, model: Any, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """Return the body and the media type of the response to a request."""
        content_type = content_type or JSON
        if accept in ("", "*/*"):
            accept = os.environ.get(_ACCEPT, JSON)
        plain = content_type.partition(";")[0].strip().lower()
        data = body.decode("utf-8") if plain in _TEXT else body
        if hasattr(self._module, "transform_fn"):
            output = self._call("transform_fn", None, model, data, content_type, accept)
        else:
            value = self._call("input_fn", default_input, data, content_type)
            prediction = self._call("predict_fn", default_predict, value, model)
            output = self._call("output_fn", default_output, prediction, accept)
        return _encoded(output, accept)

    def _call(self, name: str, default: Callable[..., Any] | None, *arguments: Any) -> Any:
        function = getattr(self._module, name, default)
        assert function is not None
        if _takes(function) > len(arguments):
            return function(*arguments, self._context)
        return function(*arguments)


def default_model(model_dir: str) -> Any:
    """Return the TorchScript model in the folder: model.pt, else its only .pt or .pth file.

    Raises ValueError for several such files or none, RuntimeError for a file that is no TorchScript.
    """
    folder = Path(model_dir)
    files = [folder / "model.pt"] if (folder / "model.pt").is_file() else sorted(folder.glob("*.pt*"))
    files = [path for path in files if path.suffix in (".pt", ".pth")]
    if len(files) != 1:
        names = [path.name for path in files]
        raise ValueError(f"Exactly one .pth or .pt file is required for PyTorch models: {names}")
    import torch

    try:
        return torch.jit.load(str(files[0]), map_location=_device())  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        advice = "Please ensure model is saved using torchscript, or write model_fn."
        raise RuntimeError(f"Failed to load {files[0].name}. {advice} ({error})") from None


def default_input(data: bytes | str, content_type: str) -> Any:
    """Return a request as a float32 tensor; raises UnsupportedFormat."""
    import torch

    kind = content_type.partition(";")[0].strip().lower()
    text = data if isinstance(data, str) else ""
    if kind == JSON:
        array = np.asarray(json.loads(text), dtype=np.float32)
    elif kind == CSV:
        rows = [[float(cell) for cell in row] for row in csv.reader(io.StringIO(text)) if row]
        array = np.asarray(rows, dtype=np.float32)
    elif kind == NPY:
        array = np.load(io.BytesIO(bytes(data)), allow_pickle=False)  # type: ignore[arg-type]
    elif kind == NPZ:
        with np.load(io.BytesIO(bytes(data)), allow_pickle=False) as arrays:  # type: ignore[arg-type]
            array = arrays[arrays.files[0]]
    else:
        raise UnsupportedFormat(f"Content type {content_type} is not supported by this framework; write input_fn.")
    return torch.as_tensor(array, dtype=torch.float32, device=_device())


def default_predict(value: Any, model: Any) -> Any:
    """Return the model's output for a tensor."""
    import torch

    model.to(_device()).eval()
    with torch.no_grad():
        return model(value.to(_device()))


def default_output(prediction: Any, accept: str) -> tuple[bytes, str]:
    """Return a tensor, array or list in the first media type of `accept` that can be written.

    Raises UnsupportedFormat where there is none.
    """
    values = prediction.detach().cpu().numpy() if hasattr(prediction, "detach") else prediction
    for member in accept.split(","):
        kind = member.partition(";")[0].strip().lower()
        if kind in (JSON, "*/*", "application/*"):
            return json.dumps(_listed(values)).encode(), JSON
        if kind == CSV:
            out = io.StringIO()
            csv.writer(out, lineterminator="\n").writerows(np.atleast_2d(np.asarray(values)).tolist())
            return out.getvalue().encode(), CSV
        if kind == NPY:
            buffer = io.BytesIO()
            np.save(buffer, np.asarray(values), allow_pickle=False)
            return buffer.getvalue(), NPY
    raise UnsupportedFormat(f"Content type {accept} is not supported by this framework; write output_fn.")


def _listed(values: Any) -> Any:
    if isinstance(values, dict):
        return {str(key): _listed(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_listed(value) for value in values]
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return values.tolist() if hasattr(values, "tolist") else values


def _encoded(output: Any, accept: str) -> tuple[bytes, str]:
    kind = accept.partition(",")[0].partition(";")[0].strip()
    if isinstance(output, tuple) and len(output) == 2:
        output, kind = output[0], str(output[1])
    if isinstance(output, str):
        return output.encode(), kind
    if isinstance(output, bytes | bytearray | memoryview):
        return bytes(output), kind
    if output is None:
        return b"", kind
    raise TypeError(f"output_fn returned {type(output).__name__}; it must return str or bytes, or a pair with the type")


def _takes(function: Callable[..., Any]) -> int:
    """Return how many arguments a function takes by position."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 0
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
