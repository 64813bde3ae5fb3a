"""Outbox: records on their way from tensors on a device to numbers, in order, without anybody waiting for a GPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Arrays = Sequence[npt.NDArray[Any]]
_WAITING = 256  # more than this on their way and the oldest is waited for: memory stays bounded


class TransferQueue:
    """Calls what was sent with its tensors as arrays, in the order of sending.

    From a CPU at once. From CUDA the copy goes on beside the training, and what has arrived is handed over at the next
    `deliver`, a few steps later.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[[Arrays], None], list[Tensor], torch.cuda.Event | None]] = deque()

    def send(self, then: Callable[[Arrays], None], tensors: Sequence[Tensor] = ()) -> None:
        """Call `then` with the tensors as numpy arrays, after everything that was sent before."""
        device = next((tensor.device for tensor in tensors if tensor.device.type == "cuda"), None)
        if device is None and not self._waiting:
            then([_array(tensor) for tensor in tensors])
            return
        event = None
        copies = [tensor.detach().to("cpu", non_blocking=True) for tensor in tensors]
        if device is not None:
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(device))
        self._waiting.append((then, copies, event))
        while len(self._waiting) > _WAITING:
            self._hand_over()

    def deliver(self, *, wait: bool = False) -> None:
        """Hand over what has arrived; with `wait` everything."""
        while self._waiting:
            event = self._waiting[0][2]
            if not wait and event is not None and not event.query():  # type: ignore[no-untyped-call]
                return
            self._hand_over()

    def _hand_over(self) -> None:
        then, copies, event = self._waiting.popleft()
        if event is not None:
            event.synchronize()
        then([_array(tensor) for tensor in copies])


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    """A copy: the tensor may be changed in place a moment later. numpy has no bfloat16."""
    tensor = tensor.detach()
    if tensor.dtype is torch.bfloat16 or tensor.layout is not torch.strided:
        tensor = tensor.to_dense().float() if tensor.layout is not torch.strided else tensor.float()
    return np.array(tensor.cpu().resolve_conj().resolve_neg().numpy())
