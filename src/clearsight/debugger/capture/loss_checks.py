"""LossChecks: whether the inputs of torch's loss functions are those that their documentation asks for. N images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from clearsight.debugger.capture.shared_patch import SharedPatch
from clearsight.debugger.capture.transfer import Arrays, RecordSender

# Modules and functions of torch.nn end in these kernels, those that a loop has imported by name too. The last number is
# the place of the reduction among the arguments.
_KERNELS: Mapping[str, tuple[Any, str, int]] = {
    "CrossEntropyLoss": (torch._C._nn, "cross_entropy_loss", 3),
    "NLLLoss": (torch._C._nn, "nll_loss_nd", 3),
    "BCEWithLogitsLoss": (torch, "binary_cross_entropy_with_logits", 4),
    "BCELoss": (torch._C._nn, "binary_cross_entropy", 3),
    "MSELoss": (torch._C._nn, "mse_loss", 2),
    "L1Loss": (torch._C._nn, "l1_loss", 2),
    "SmoothL1Loss": (torch._C._nn, "smooth_l1_loss", 2),
    "HuberLoss": (torch._C._nn, "huber_loss", 2),
}
LOSS_FUNCTIONS: Mapping[str, SharedPatch] = {
    name: SharedPatch(owner, kernel) for name, (owner, kernel, _) in _KERNELS.items() if hasattr(owner, kernel)
}
_MEAN = 1  # the reduction as a number
_TRACED = frozenset({"FakeTensor", "FunctionalTensor"})  # stand for tensors while torch.compile traces a function
_FIRST, _EVERY = 8, 64  # passes that are checked: faults of a loop are there from the start

_TOLERANCE = 0.1  # of a row's sum of probabilities, which half precision rounds
_EQUAL = 1e-3  # relative difference up to which two losses are equal


@dataclass(frozen=True, slots=True)
class LossCall:
    """A call of a loss.

    name: of the class of torch.nn, "" for another module.  mean: True if it is the mean over the batch.
    """

    name: str
    inputs: Tensor
    targets: Tensor
    value: Tensor | Exception
    mean: bool

    @classmethod
    def of(cls, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], value: Any) -> LossCall | None:
        """Return a call of LOSS_FUNCTIONS; None for arguments that are no two tensors."""
        if len(args) < 2 or not all(isinstance(tensor, Tensor) for tensor in args[:2]):
            return None
        inputs, targets = args[:2]
        if not inputs.dim() or type(inputs).__name__ in _TRACED:
            return None
        if _is_broadcast(inputs, targets):
            inputs, targets = inputs[:, :1], targets[0]
        elif _is_broadcast(targets, inputs):
            inputs, targets = inputs[0], targets[:, :1]
        place = _KERNELS[name][2]
        reduction = args[place] if len(args) > place else kwargs.get("reduction", _MEAN)
        return cls(name, inputs, targets, value, reduction == _MEAN)


class LossChecks:
    """Counts checked calls, and each fault that was seen in them.

    Faults: "nll_on_logits", "cross_entropy_on_probabilities", "bce_on_probabilities", "one_output", "broadcast",
    "targets_outside" (of 0 to 1), "labels_outside" (of the outputs), "shapes".
    """

    def __init__(self, sender: RecordSender) -> None:
        self._sender = sender
        self._passes = 0
        self.checked = 0
        self.faults: Counter[str] = Counter()
        self.factors: list[float] = []  # by which the loop multiplied a mean loss
        self.busy = False  # it calls loss functions itself

    def due(self) -> bool:
        """Return True if the loss of the pass that begins now is checked."""
        self._passes += 1
        return self._passes <= _FIRST or self._passes % _EVERY == 0

    def check(self, call: LossCall) -> None:
        """Check a call. Tensors on a device are judged when they arrive; nothing waits."""
        self.checked += 1
        if isinstance(call.value, Exception):
            self._rejected(call)
            return
        checks: dict[str, Callable[[LossCall], None]] = {
            "NLLLoss": self._nll,
            "CrossEntropyLoss": self._cross_entropy,
            "BCEWithLogitsLoss": self._binary,
            "BCELoss": self._binary,
            "": self._unknown,
        }
        checks.get(call.name, self._elementwise)(call)

    def _rejected(self, call: LossCall) -> None:
        indices = call.targets.dtype in (torch.int64, torch.uint8) and call.name in ("CrossEntropyLoss", "NLLLoss")
        classes = call.inputs.shape[1] if call.inputs.dim() > 1 else call.inputs.shape[0]
        if indices and call.targets.numel() and call.targets.device.type == "cpu":
            outside = (call.targets >= classes) | ((call.targets < 0) & (call.targets != -100))
            if bool(outside.any()):
                self.faults["labels_outside"] += 1
                return
        self.faults["shapes"] += call.inputs.shape[:1] != call.targets.shape[:1]

    @torch.no_grad()
    def _nll(self, call: LossCall) -> None:
        logs = call.inputs.detach().float()
        if _made_by(call.inputs, "LogSoftmax") or logs.dim() < 2 or not logs.numel():
            return
        sums = logs.exp().sum(1)

        def receive(arrays: Arrays) -> None:
            highest, lowest, furthest = map(float, arrays[0])
            # Outputs in 0 to 1 are probabilities, which LossOnProbabilities names.
            if abs(furthest - 1) > _TOLERANCE and not (lowest >= 0 and highest <= 1):
                self.faults["nll_on_logits"] += 1

        furthest = sums.flatten()[(sums - 1).abs().argmax()]
        self._sender.send(receive, [torch.stack([logs.max(), logs.min(), furthest])])

    def _cross_entropy(self, call: LossCall) -> None:
        if call.inputs.dim() == 2 and call.inputs.shape[1] == 1:
            self.faults["one_output"] += 1
        elif _made_by(call.inputs, "Softmax"):
            self.faults["cross_entropy_on_probabilities"] += 1

    @torch.no_grad()
    def _binary(self, call: LossCall) -> None:
        targets = call.targets.detach()
        if call.name == "BCEWithLogitsLoss" and _made_by(call.inputs, "Sigmoid"):
            self.faults["bce_on_probabilities"] += 1

        def receive(arrays: Arrays) -> None:
            lowest, highest = map(float, arrays[0])
            if lowest < 0 or highest > 1:
                self.faults["targets_outside"] += 1

        if targets.numel():
            self._sender.send(receive, [torch.stack([targets.min(), targets.max()]).float()])

    def _elementwise(self, call: LossCall) -> None:
        if _would_broadcast(call):
            self.faults["broadcast"] += 1

    @torch.no_grad()
    def _unknown(self, call: LossCall) -> None:
        """Recognise a binary cross entropy that somebody wrote himself, over every pair of output and label."""
        if not _would_broadcast(call) or not isinstance(call.value, Tensor):
            return
        column, labels = call.inputs.detach().float().reshape(-1, 1), call.targets.detach().float().reshape(1, -1)
        value, size = call.value.detach().float().mean(), len(column)
        if call.inputs.device.type != "cpu" or size > 4096:  # the pairs take size x size numbers
            return
        pairs, rows = (column.expand(size, size), labels.expand(size, size)), (column[:, 0], labels[0])
        self.busy = True
        for measure in (_logits_entropy, functional.mse_loss, _probabilities_entropy):
            if _close(value, measure(*pairs)) and not _close(value, measure(*rows)):
                self.faults["broadcast"] += 1
                break
        self.busy = False


def _is_broadcast(column: Tensor, row: Tensor) -> bool:
    """Return True for two tensors (N, N) that are an expanded column and an expanded row, N above 1."""
    same = column.dim() == row.dim() == 2 and column.shape == row.shape and len(column) == column.shape[1] > 1
    return same and column.stride(1) == 0 and row.stride(0) == 0 and column.stride(0) != 0


def _would_broadcast(call: LossCall) -> bool:
    """Return True for outputs (N, 1) beside labels (N,), or the reverse, N above 1: together they are (N, N)."""
    pair = sorted((call.inputs.shape, call.targets.shape), key=len)
    return len(pair[0]) == 1 and len(pair[1]) == 2 and pair[1] == (pair[0][0], 1) and pair[0][0] > 1


def _logits_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(outputs, labels)


def _probabilities_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    shares = outputs.clamp(1e-7, 1 - 1e-7)
    return -(labels * shares.log() + (1 - labels) * (1 - shares).log()).mean()


def _close(first: Tensor, second: Tensor) -> bool:
    return bool((first - second).abs() <= _EQUAL * second.abs())


def _made_by(tensor: Tensor, operation: str) -> bool:
    """Return True if the last operation on a tensor was this one, as autograd names it ("Softmax"), or a view of it."""
    node = tensor.grad_fn
    for _ in range(3):
        if node is None:
            return False
        name = node.name()
        if name.startswith(f"{operation}Backward"):
            return True
        if not name.startswith(("Squeeze", "View", "ToCopy", "Reshape", "Unsqueeze", "Select", "Alias")):
            return False
        node = node.next_functions[0][0]
    return False
