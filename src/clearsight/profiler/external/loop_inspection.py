"""Machine and settings of an external loop, and its batches: derived from its process, its model and its DataLoader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from clearsight.core.profile import Machine
from clearsight.profiler.machine_info import machine_info

_PRECISIONS = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
_MAX_DEPTH = 4  # levels of lists and mappings in a batch; a batch that contains itself must end too


@dataclass(frozen=True, slots=True)
class BatchInfo:
    """Facts about a batch.

    size: samples.  bytes: of its tensors.  first: of its epoch.  workers, prefetch: of the loader, 0 without any.
    images: (N, 3, H, W), where the batch has such a tensor in the memory of this process; not a copy.
    """

    size: int
    bytes: int
    first: bool
    workers: int
    prefetch: int
    images: npt.NDArray[Any] | None

    @classmethod
    def of(cls, batch: Any, iterator: Any) -> BatchInfo:
        """Return the facts about the last batch from the iterator of a DataLoader."""
        tensors = list(_tensors(batch))
        workers = int(getattr(iterator, "_num_workers", 0))
        return cls(
            size=next((len(tensor) for tensor in tensors if tensor.ndim), 0),
            bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
            first=getattr(iterator, "_num_yielded", 0) == 1,
            workers=workers,
            prefetch=int(getattr(iterator, "_prefetch_factor", 0) or 0) if workers else 0,
            images=next((images for tensor in tensors if (images := _images(tensor)) is not None), None),
        )


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


def _tensors(value: Any, depth: int = 0) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif depth < _MAX_DEPTH and isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors(inner, depth + 1)
    elif depth < _MAX_DEPTH and isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner, depth + 1)


def _images(tensor: Tensor) -> npt.NDArray[Any] | None:
    # A subclass of Tensor may compute lazily or be quantised, and one with a gradient cannot become an array.
    plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.device.type == "cpu" and not tensor.requires_grad
    if not plain or tensor.ndim != 4 or tensor.shape[1] != 3 or tensor.dtype not in (torch.float32, torch.uint8):
        return None
    return np.asarray(tensor.numpy())
