"""Machine and settings of an external loop, derived from its process, its model and its batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from clearsight.core.profile import Machine
from clearsight.profiler.external.batch import BatchInfo
from clearsight.profiler.machine_info import machine_info

_PRECISIONS = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}


def current_machine() -> Machine:
    """Return the machine of this process before it trains. GPUs count once the process uses one."""
    machine = machine_info()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return replace(machine, threads=torch.get_num_threads(), device="cuda")
    return replace(machine, threads=torch.get_num_threads(), device="cpu", gpus=0, name="")


def current_rank() -> int:
    """Return the number of this process in a distributed run, 0 without one."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if distributed else 0


def machine_of_pass(machine: Machine, module: nn.Module, args: tuple[Any, ...]) -> Machine:
    """Return `machine` with what a forward pass that trains shows: device, precision, layout of images."""
    parameter = next(module.parameters())
    kind = parameter.device.type
    images = args[0] if args and isinstance(args[0], Tensor) else None
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else parameter.dtype
    layout = None
    if images is not None and images.ndim == 4 and images.shape[1] > 1:  # with one channel both layouts are the same
        layout = images.is_contiguous(memory_format=torch.channels_last)
    return replace(
        machine,
        threads=torch.get_num_threads(),
        device=kind,
        gpus=machine.gpus if kind == "cuda" else 0,
        name=torch.cuda.get_device_name(parameter.device) if kind == "cuda" else "",
        precision=_PRECISIONS.get(dtype, str(dtype).removeprefix("torch.")),
        channels_last=layout,
    )


def machine_of_batch(machine: Machine, batch: BatchInfo | None) -> Machine:
    """Return `machine` with what a batch of the training DataLoader shows: its workers and its size."""
    if batch is None:
        return machine
    return replace(
        machine,
        workers=batch.workers,
        reading="processes" if batch.workers else "here",
        prefetch=batch.prefetch,
        # The largest so far: the last batch of an epoch is often a small one.
        batch_size=max(batch.size, machine.batch_size),
        batch_bytes=max(batch.bytes, machine.batch_bytes),
    )
