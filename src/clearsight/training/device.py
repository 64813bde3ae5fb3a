"""Placement: the device and the arithmetic of a training, decided from what the machine has."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from clearsight.core.errors import BadValue
from clearsight.core.machine import cores
from clearsight.core.recipe import TrainSection
from clearsight.training.distributed import World


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Device, arithmetic ("fp32", "bf16", "fp16"), memory layout of images, and CPU threads of torch."""

    device: torch.device
    precision: str
    memory_format: torch.memory_format
    threads: int

    def describe(self) -> str:
        """Return a text for people: "cuda:0 (NVIDIA H200)" or "cpu, 2 threads"."""
        if self.device.type == "cuda":
            return f"{self.device} ({torch.cuda.get_device_name(self.device)})"
        return f"{self.device}, {self.threads} thread{'s' if self.threads != 1 else ''}"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context in which forward passes compute in a precision, "fp32", "bf16" or "fp16"."""
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return nullcontext() if half is None else torch.autocast(device.type, dtype=half)


def place(train: TrainSection, world: World) -> Placement:
    """Return the recipe's device, precision, layout and threads, resolved on this machine.

    Raises BadValue for a device that does not exist here and for fp16 on a CPU.
    """
    device = _device(train.device, world)
    precision = train.precision
    if precision == "auto":
        half = device.type == "cuda" and torch.cuda.is_bf16_supported()
        precision = "bf16" if half else "fp32"  # on a CPU without AMX bf16 runs at half the speed of fp32
    if precision == "fp16" and device.type != "cuda":
        raise BadValue("--precision fp16", "float16 training needs a GPU", fix="Use fp32 or bf16 on a CPU.")
    layout = torch.contiguous_format if train.channels_last == "off" else torch.channels_last
    # Processes share the cores: more threads than cores make every one of them wait.
    threads = train.threads or max(1, cores() // max(1, world.size))
    return Placement(device=device, precision=precision, memory_format=layout, threads=threads)


def _device(name: str, world: World) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BadValue(
            f"--device {name}", "there is no device of that kind. Allowed: auto, cpu, cuda, cuda:N"
        ) from None
    if device.type not in ("cpu", "cuda"):
        raise BadValue(f"--device {name}", "only cpu and cuda are supported")
    if device.type == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = device.index if device.index is not None else world.local_rank  # a GPU for each process
    if index >= count:
        raise BadValue(f"--device {name}", f"this machine has {count} usable GPUs", fix="Use --device cpu or auto.")
    return torch.device("cuda", index)
