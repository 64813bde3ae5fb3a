"""Loop facts: what somebody's own loop runs on, as far as its model and its batches show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from clearsight.core.profile import Machine
from clearsight.profiler.external.batch import BatchInfo
from clearsight.profiler.machine_info import machine_info

_HALF = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}


def current_machine() -> Machine:
    """What this process has before it trains; a GPU counts once the process has begun to use it."""
    found = machine_info()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return replace(found, threads=torch.get_num_threads(), device="cuda")
    return replace(found, threads=torch.get_num_threads(), device="cpu", gpus=0, name="")


def current_rank() -> int:
    """Which process of a distributed run this is."""
    known = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if known else 0


def seen_in_pass(machine: Machine, module: nn.Module, args: tuple[Any, ...]) -> Machine:
    """What a forward pass that trains shows: the device, the precision, the layout of images."""
    parameter = next(module.parameters())
    kind = parameter.device.type
    given = args[0] if args and isinstance(args[0], Tensor) else None
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else parameter.dtype
    layout = None
    if given is not None and given.ndim == 4 and given.shape[1] > 1:
        layout = given.is_contiguous(memory_format=torch.channels_last)
    return replace(
        machine,
        threads=torch.get_num_threads(),
        device=kind,
        gpus=machine.gpus if kind == "cuda" else 0,
        name=torch.cuda.get_device_name(parameter.device) if kind == "cuda" else "",
        precision=_HALF.get(dtype, str(dtype).removeprefix("torch.")),
        channels_last=layout,
    )


def seen_in_batch(machine: Machine, batch: BatchInfo | None) -> Machine:
    """What a batch of the training loop's DataLoader shows: who reads, and how much at a time."""
    if batch is None:
        return machine
    return replace(
        machine,
        workers=batch.workers,
        reading="processes" if batch.workers else "here",
        prefetch=batch.prefetch,
        batch_size=max(batch.size, machine.batch_size),
        batch_bytes=max(batch.bytes, machine.batch_bytes),
    )
