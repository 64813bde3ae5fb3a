"""RuntimeOption: each way in which a bundle can be run on this machine, by the name that `--runtime` takes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from clearsight.core.bundle import MACHINES, Bundle
from clearsight.core.errors import BadData, NotFound
from clearsight.core.exports import GateFigures, InputKind, ModelForm, Precision
from clearsight.core.files import read_json, write_json
from clearsight.core.machine import machine_name
from clearsight.serving.runtimes import RUNTIMES

log = logging.getLogger(__name__)

Engine = Literal["torch", "torch-export", "onnxruntime", "openvino"]

ALIASES = {"onnx": "onnxruntime"}  # names of runtimes that are also names of exported models
_ENGINES: dict[str, Engine] = {"onnx": "onnxruntime", "openvino": "openvino", "torch-export": "torch-export"}
_MODULES: dict[Engine, str] = {
    "torch": "torch",
    "torch-export": "torch",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
}


@dataclass(frozen=True, kw_only=True)
class RuntimeOption:
    """A way to run a bundle. file: that it opens first, by its name in the bundle.  gate: None without figures."""

    name: str
    engine: Engine
    file: str
    precision: Precision = "fp32"
    input: InputKind = "prepared"
    gate: GateFigures | None = None


def runtime_options(bundle: Bundle) -> list[RuntimeOption]:
    """Return the ways in which `bundle` can be run with the packages that are installed, torch first."""
    return [option for option in _all_options(bundle) if find_spec(_MODULES[option.engine]) is not None]


def _all_options(bundle: Bundle) -> Iterator[RuntimeOption]:
    if bundle.weights.name in bundle.files:
        yield RuntimeOption(name="torch", engine="torch", file=bundle.weights.name)
    if bundle.has_onnx:  # that of the training, or the exported one
        exported = bundle.exports.get("onnx")
        gate = exported.gate if exported else None
        yield RuntimeOption(name="onnx", engine="onnxruntime", file=bundle.onnx.name, gate=gate)
        if "openvino" not in bundle.exports:
            yield RuntimeOption(name="openvino", engine="openvino", file=bundle.onnx.name)
    for name, exported in bundle.exports.items():
        if name != "onnx":
            yield option_of(exported, exported.gate)


def option_of(form: ModelForm, gate: GateFigures | None = None) -> RuntimeOption:
    """Return the way to run an exported model."""
    return RuntimeOption(
        name=form.name,
        engine=_ENGINES[form.target],
        file=form.files[0],
        precision=form.precision,
        input=form.input,
        gate=gate,
    )


def runtime_names(bundle: Bundle) -> list[str]:
    """Return the values of `--runtime` for this bundle."""
    return list(dict.fromkeys(["auto", *RUNTIMES.names(), *(option.name for option in runtime_options(bundle))]))


class MachineChoice(BaseModel):
    """Fastest runtime of a bundle on one machine. sha256: of the file that was measured.  p50: milliseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: str
    sha256: str
    p50: FiniteFloat


class _Machines(BaseModel):
    """Content of machines.json: choices by the name of the machine."""

    model_config = ConfigDict(extra="forbid")

    machines: dict[str, MachineChoice] = {}


def chosen_option(bundle: Bundle) -> RuntimeOption | None:
    """Return the runtime that `clearsight benchmark` has chosen for this machine; None where there is none to use.

    A choice of a file that has changed since, or of a runtime that is missing, is left out; the log says so.
    """
    try:
        choice = _read(bundle).machines.get(machine_name())
    except (BadData, ValidationError):
        log.warning("%s is damaged; the default runtime is used.", bundle.path / MACHINES)
        return None
    if choice is None:
        return None
    option = next((option for option in runtime_options(bundle) if option.name == choice.runtime), None)
    # torch-export is never used without being named: its file is code.
    if option is None or option.engine == "torch-export" or bundle.files.get(option.file) != choice.sha256:
        log.warning(
            "The choice of a runtime for this machine (%s) does not fit %s any more; the default is used. "
            "clearsight benchmark measures again.",
            choice.runtime[:40],
            bundle.path,
        )
        return None
    return option


def write_choice(bundle: Bundle, option: RuntimeOption, p50: float) -> Path:
    """Record the choice for this machine beside the manifest, which does not list the file; return the file."""
    try:
        machines = _read(bundle)
    except (BadData, ValidationError):
        machines = _Machines()
    machines.machines[machine_name()] = MachineChoice(runtime=option.name, sha256=bundle.files[option.file], p50=p50)
    write_json(bundle.path / MACHINES, machines.model_dump(mode="json"))
    return bundle.path / MACHINES


def _read(bundle: Bundle) -> _Machines:
    """Return the choices; raises BadData or ValidationError for a damaged file."""
    path = bundle.path / MACHINES
    try:
        return _Machines.model_validate(read_json(path)) if path.is_file() else _Machines()
    except NotFound:  # removed meanwhile
        return _Machines()
