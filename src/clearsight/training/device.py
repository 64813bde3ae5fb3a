"""Where and in what arithmetic to train, decided from what the machine has."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from clearsight.core.errors import BadValue
from clearsight.core.machine import cores
from clearsight.core.recipe import TrainSection
from clearsight.training.distributed import World


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """A device, its arithmetic ("fp32", "bf16", "fp16"), the memory layout of images, and threads for the rest."""

    device: torch.device
    precision: str
    memory_format: torch.memory_format
    threads: int

    def describe(self) -> str:
        """For people: "cuda:0 (NVIDIA H200)" or "cpu, 2 threads"."""
        if self.device.type == "cuda":
            return f"{self.device} ({torch.cuda.get_device_name(self.device)})"
        return f"{self.device}, {self.threads} thread{'s' if self.threads != 1 else ''}"


def place(how: TrainSection, world: World) -> Placement:
    """Resolve the recipe's device, precision, layout and threads on this machine.

    Raises BadValue for a device that is not there and for fp16 on a CPU.
    """
    device = _device(how.device, world)
    precision = how.precision
    if precision == "auto":
        half = device.type == "cuda" and torch.cuda.is_bf16_supported()
        precision = "bf16" if half else "fp32"  # on a CPU without AMX bf16 runs at half the speed of fp32
    if precision == "fp16" and device.type != "cuda":
        raise BadValue("--precision fp16", "float16 training needs a GPU", fix="Use fp32 or bf16 on a CPU.")
    layout = torch.contiguous_format if how.channels_last == "off" else torch.channels_last
    # Processes share the cores: more threads than cores make every one of them wait.
    threads = how.threads or max(1, cores() // max(1, world.size))
    return Placement(device=device, precision=precision, memory_format=layout, threads=threads)


def _device(wanted: str, world: World) -> torch.device:
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise BadValue(f"--device {wanted}", "there is no such kind; use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise BadValue(f"--device {wanted}", "only cpu and cuda are supported")
    if device.type == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = device.index if device.index is not None else world.local_rank
    if index >= count:
        raise BadValue(f"--device {wanted}", f"this machine has {count} usable GPUs", fix="Use --device cpu or auto.")
    return torch.device("cuda", index)
