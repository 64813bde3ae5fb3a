"""World: the processes of one training job. One by default, several under torchrun.

Without torch at import: a command knows its place among the processes before it loads torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    import torch
    from torch import nn

T = TypeVar("T")

_TIMEOUT = timedelta(minutes=30)  # rank 0 scans the data and computes features while the others wait


@dataclass(frozen=True, slots=True)
class World:
    """This process among all. rank: in [0, size).  local_rank: among those of this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Return True in the process that writes files and reports to the user."""
        return self.rank == 0

    def average(self, value: torch.Tensor) -> torch.Tensor:
        """Return the mean of a tensor over all processes."""
        if self.size > 1:
            import torch.distributed as dist

            dist.all_reduce(value)
            value = value / self.size
        return value

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return True if the flag is set in any process."""
        if self.size == 1:
            return flag
        import torch
        import torch.distributed as dist

        value = torch.tensor(float(flag), device=device)  # nccl reduces tensors on its GPU only
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return bool(value.item())

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, in order of rank."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        parts: list[T | None] = [None] * self.size
        dist.all_gather_object(parts, value)
        return cast(list[T], parts)

    def share(self, value: T) -> T:
        """Return the value of rank 0, in all processes."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def wait(self) -> None:
        """Return once every process has called this."""
        if self.size > 1:
            import torch.distributed as dist

            dist.barrier()

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model with gradients averaged over the processes."""
        if self.size == 1:
            return model
        from torch import nn

        ids = [device.index] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=ids)


@contextmanager
def join_process_group(world: World, device: torch.device) -> Iterator[World]:
    """Join the process group within the block: nccl on GPUs, gloo on CPUs; torchrun's environment has the addresses."""
    if world.size == 1:
        yield world
        return
    import torch
    import torch.distributed as dist

    backend = "nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)  # nccl gathers objects through the current device
    dist.init_process_group(backend, rank=world.rank, world_size=world.size, timeout=_TIMEOUT)
    try:
        yield world
    finally:
        dist.destroy_process_group()
