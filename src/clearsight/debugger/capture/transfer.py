"""RecordSender: tensors on a device become records of numbers, in order, without waiting for a GPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clearsight.core.tensors import Moment, PredictionRecord, RawTensor, SavedRecord, Scalars

Arrays = Sequence[npt.NDArray[Any]]

# Transfers under way. Each holds its tensors on the device and their copies on the host: this bounds both memories
# where the training queues work faster than the device finishes it.
_MAX_PENDING = 256


class RecordSender:
    """Makes records of tensors and hands them to `emit`, in the order of sending.

    From a CPU at once. From CUDA the copy runs beside the training; what has arrived is handed over at the next
    `deliver`, a few steps later.
    """

    def __init__(self, emit: Callable[[SavedRecord], None]) -> None:
        self.emit = emit
        self._pending: deque[tuple[Callable[[Arrays], None], list[Tensor], torch.cuda.Event | None]] = deque()

    def send(self, receiver: Callable[[Arrays], None], tensors: Sequence[Tensor] = ()) -> None:
        """Call `receiver` with the tensors as numpy arrays, after everything that was sent before.

        The receiver makes and emits the record itself.
        """
        device = next((tensor.device for tensor in tensors if tensor.device.type == "cuda"), None)
        # Values from a CPU wait too where something is pending: the order of records must not depend on the device.
        if device is None and not self._pending:
            receiver([_array(tensor) for tensor in tensors])
            return
        event = None
        copies = [tensor.detach().to("cpu", non_blocking=True) for tensor in tensors]
        if device is not None:
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(device))
        self._pending.append((receiver, copies, event))
        while len(self._pending) > _MAX_PENDING:
            self._hand_over()

    def deliver(self, *, wait: bool = False) -> None:
        """Emit what has arrived from the device; with `wait` everything."""
        while self._pending:
            event = self._pending[0][2]
            if not wait and event is not None and not event.query():  # type: ignore[no-untyped-call]
                return
            self._hand_over()

    def _hand_over(self) -> None:
        receiver, copies, event = self._pending.popleft()
        if event is not None:
            event.synchronize()
        receiver([_array(tensor) for tensor in copies])

    def scalars(self, at: Moment, values: Mapping[str, Tensor | float]) -> None:
        """Send named numbers."""
        tensors = [torch.as_tensor(value, dtype=torch.float64) for value in values.values()]
        names = tuple(values)
        self.send(lambda arrays: self.emit(Scalars(at, dict(zip(names, map(float, arrays), strict=True)))), tensors)

    def tensor(self, at: Moment, collection: str, name: str, value: Tensor) -> None:
        """Send a whole tensor, which belongs to the sender from now on."""
        self.send(lambda arrays: self.emit(RawTensor(at, name, collection, arrays[0])), [value])

    def predictions(self, at: Moment, columns: Sequence[Tensor]) -> None:
        """Send the predictions of a batch. columns: (N,) each, as of `BatchPredictions.columns`.

        Images of a negative label, which means "ignore this one", are left out.
        """

        def receive(arrays: Arrays) -> None:
            is_labelled = arrays[0] >= 0
            if is_labelled.any():
                self.emit(PredictionRecord(at, *(column[is_labelled] for column in arrays)))

        self.send(receive, columns)


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    """Return a copy: the tensor may be changed in place a moment later."""
    tensor = tensor.detach()
    # numpy knows neither bfloat16 nor sparse tensors.
    if tensor.dtype is torch.bfloat16 or tensor.layout is not torch.strided:
        tensor = tensor.to_dense().float()
    return np.array(tensor.cpu().resolve_conj().resolve_neg().numpy())
