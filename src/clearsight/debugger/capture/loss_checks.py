"""LossChecks: whether the inputs of torch's loss functions are those that their documentation asks for. N images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clearsight.debugger.capture.mixed_images import MixedBatches
from clearsight.debugger.capture.predictions import IGNORED, label_below_others, pulled_to_one_label
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
    "KLDivLoss": (torch, "kl_div", 2),
    "MultiMarginLoss": (torch._C._nn, "multi_margin_loss", 5),
}
Array = npt.NDArray[np.float64]
LOSS_FUNCTIONS: Mapping[str, SharedPatch] = {
    name: SharedPatch(owner, kernel) for name, (owner, kernel, _) in _KERNELS.items() if hasattr(owner, kernel)
}
# What changes with the order of its arguments. A reverse divergence takes the outputs as its targets on purpose.
_ORDERED = frozenset({"CrossEntropyLoss", "BCEWithLogitsLoss", "BCELoss"})
_MEAN = 1  # the reduction as a number
_SMOOTHING = 5  # place of the label smoothing among the arguments of the cross entropy
_POSITIVE = 3  # place of the weight of the label 1 among those of the binary cross entropy
_TRACED = frozenset({"FakeTensor", "FunctionalTensor"})  # stand for tensors while torch.compile traces a function
_FIRST, _EVERY = 8, 64  # passes that are checked: faults of a loop are there from the start

_TOLERANCE = 0.1  # of a row's sum of probabilities, which half precision rounds
_MULTIPLE = 0.01  # of their size: rest up to which two tensors are multiples of each other, in half precision too
_KEPT = 32  # factors
_NARROW = 4.0  # width of a range that is too small for logits: exp(4) to one are the greatest odds


@dataclass(frozen=True, slots=True)
class LossCall:
    """A call of a loss.

    name: of the class of torch.nn, "" for another module.  mean: True if it is the mean over the batch.
    smoothing: of the labels.  weights: of the classes, (C,), or of the label 1 of a binary cross entropy.  swapped:
    True if it was called with the targets first.
    """

    name: str
    inputs: Tensor
    targets: Tensor
    value: Tensor | Exception
    mean: bool
    smoothing: float = 0.0
    weights: Tensor | None = None
    swapped: bool = False

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
        swapped = name in _ORDERED and are_swapped(inputs, targets)
        if swapped:
            inputs, targets = targets, inputs
        if name == "BCEWithLogitsLoss":
            weights = args[_POSITIVE] if len(args) > _POSITIVE else kwargs.get("pos_weight")
            return cls(name, inputs, targets, value, reduction == _MEAN, weights=weights, swapped=swapped)
        if name != "CrossEntropyLoss":
            return cls(name, inputs, targets, value, reduction == _MEAN, swapped=swapped)
        smoothing = args[_SMOOTHING] if len(args) > _SMOOTHING else kwargs.get("label_smoothing", 0.0)
        weights = args[2] if len(args) > 2 else kwargs.get("weight")
        return cls(name, inputs, targets, value, reduction == _MEAN, float(smoothing), weights, swapped)


class LossChecks:
    """Counts checked calls, and each fault that was seen in them.

    Faults: "nll_on_logits", "cross_entropy_on_probabilities", "cross_entropy_on_sigmoid", "cross_entropy_on_relu",
    "cross_entropy_on_clamp", "bce_on_probabilities", "bce_on_relu", "softmax_of_one", "one_output", "broadcast",
    "targets_outside" (of 0 to 1), "labels_outside" (of the outputs), "shapes", "kl_div_on_probabilities",
    "kl_div_on_logits", "margin_on_probabilities", "distance_of_probabilities" (a squared or absolute error),
    "class_numbers" (as values of a single output), "softmax_over_batch", "swapped" (targets first),
    "label_below_others" (all shares of an image equal but one, which is less),
    "own_swapped" (the same in a loss of another library, which may be made so).
    """

    def __init__(self, sender: RecordSender) -> None:
        self._sender = sender
        self._passes, self._counted = 0, False
        self.checked = 0  # passes, of which one may have several losses
        self.faults: Counter[str] = Counter()
        self.factors: list[float] = []  # by which the loop multiplied a mean loss
        self.output_factors: list[float] = []  # by which it multiplied the outputs of the model
        self.smoothing = 0.0
        self.weights: tuple[float, ...] = ()  # of the classes
        self.positive_weight = 0.0  # of the label 1 of a single output
        self.mixtures = MixedBatches()

    def due(self) -> bool:
        """Return True if the loss of the pass that begins now is checked."""
        self._passes += 1
        self._counted = False
        return self._passes <= _FIRST or self._passes % _EVERY == 0

    def _count(self) -> None:
        self.checked += not self._counted
        self._counted = True

    def check(self, call: LossCall, *, by_gradient: bool = False) -> None:
        """Check a call. Tensors on a device are judged when they arrive; nothing waits.

        by_gradient: True where `check_gradient` follows, which counts the call.
        """
        self.faults["own_swapped"] += call.swapped and not call.name
        if by_gradient:
            return
        self._count()
        if isinstance(call.value, Exception):
            self._rejected(call)
            return
        fault = "swapped" if call.swapped and call.name else "softmax_over_batch" if _is_over_batch(call) else ""
        if fault:
            self.faults[fault] += 1
            return
        checks: dict[str, Callable[[LossCall], None]] = {
            "NLLLoss": self._nll,
            "CrossEntropyLoss": self._cross_entropy,
            "BCEWithLogitsLoss": self._binary,
            "BCELoss": self._binary,
            "KLDivLoss": self._divergence,
            "MultiMarginLoss": self._margin,
        }
        if call.name:
            checks.get(call.name, self._elementwise)(call)

    def _rejected(self, call: LossCall) -> None:
        indices = call.targets.dtype in (torch.int64, torch.uint8) and call.name in ("CrossEntropyLoss", "NLLLoss")
        classes = call.inputs.shape[1] if call.inputs.dim() > 1 else call.inputs.shape[0]
        if indices and call.targets.numel() and call.targets.device.type == "cpu":
            outside = (call.targets >= classes) | ((call.targets < 0) & (call.targets != IGNORED))
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

    def _shares(self, targets: Tensor) -> None:
        def receive(arrays: Arrays) -> None:
            self.faults["label_below_others"] += bool(arrays[0])

        if (below := label_below_others(targets)) is not None:
            self._sender.send(receive, [below])

    def _cross_entropy(self, call: LossCall) -> None:
        self.smoothing = call.smoothing
        self._shares(call.targets)
        if call.weights is not None and not self.weights:

            def receive(arrays: Arrays) -> None:
                self.weights = tuple(map(float, arrays[0]))

            self._sender.send(receive, [call.weights.detach().float()])
        if call.inputs.dim() == 2 and call.inputs.shape[1] == 1:
            self.faults["one_output"] += 1
        elif _made_by(call.inputs, "Softmax"):
            self.faults["cross_entropy_on_probabilities"] += 1
        elif _made_by(call.inputs, "Sigmoid"):
            self.faults["cross_entropy_on_sigmoid"] += 1
        elif _made_by(call.inputs, "Relu"):
            self.faults["cross_entropy_on_relu"] += 1
        elif _is_cut(call.inputs):
            self.faults["cross_entropy_on_clamp"] += 1

    @torch.no_grad()
    def _binary(self, call: LossCall) -> None:
        targets = call.targets.detach()
        if call.name == "BCEWithLogitsLoss":
            self.faults["bce_on_probabilities"] += _made_by(call.inputs, "Sigmoid")
            self.faults["bce_on_relu"] += _made_by(call.inputs, "Relu")
        # Over one output a softmax is always 1.
        self.faults["softmax_of_one"] += _made_by(call.inputs, "Softmax") and call.inputs.numel() == len(call.inputs)
        if call.weights is not None and call.weights.numel() == 1 and not self.positive_weight:

            def receive_weight(arrays: Arrays) -> None:
                self.positive_weight = float(arrays[0])

            self._sender.send(receive_weight, [call.weights.detach().float().reshape(())])

        def receive(arrays: Arrays) -> None:
            lowest, highest = map(float, arrays[0])
            if lowest < 0 or highest > 1:
                self.faults["targets_outside"] += 1

        if targets.numel():
            self._sender.send(receive, [torch.stack([targets.min(), targets.max()]).float()])

    def _margin(self, call: LossCall) -> None:
        # Probabilities are never a margin of 1 apart.
        self.faults["margin_on_probabilities"] += _made_by(call.inputs, "Softmax")

    @torch.no_grad()
    def _divergence(self, call: LossCall) -> None:
        logs = call.inputs.detach().float()
        self._shares(call.targets)
        if _made_by(call.inputs, "LogSoftmax") or logs.dim() < 2 or not logs.numel():
            return
        sums, plain = logs.exp().sum(1), logs.sum(1)
        furthest = torch.stack([(sums - 1).abs().max(), (plain - 1).abs().max(), logs.min()])

        def receive(arrays: Arrays) -> None:
            from_logs, from_shares, lowest = map(float, arrays[0])
            if from_logs > _TOLERANCE:
                is_share = lowest >= 0 and from_shares < _TOLERANCE
                self.faults["kl_div_on_probabilities" if is_share else "kl_div_on_logits"] += 1

        self._sender.send(receive, [furthest])

    @torch.no_grad()
    def _elementwise(self, call: LossCall) -> None:
        if _would_broadcast(call):
            self.faults["broadcast"] += 1
            return
        targets = call.targets.detach()
        if call.inputs.shape != targets.shape or not targets.numel():
            return
        single = targets.numel() == len(targets)
        is_share = _made_by(call.inputs, "Softmax") or _made_by(call.inputs, "Sigmoid")
        whole = (targets == targets.round()).all()
        outside = (targets < 0).any() | (targets > 1).any()

        def receive(arrays: Arrays) -> None:
            is_whole, is_outside = map(bool, arrays[0])
            if is_share and is_whole and not is_outside:
                self.faults["distance_of_probabilities"] += 1
            elif single and is_whole and is_outside:
                self.faults["class_numbers"] += 1

        self._sender.send(receive, [torch.stack([whole, outside])])

    @torch.no_grad()
    def compare_outputs(self, outputs: Tensor, call: LossCall) -> None:
        """Compare what a loss on logits gets with the outputs of the model, (N, C) or (N,): a multiple is a factor."""
        inputs = call.inputs.detach()
        if call.name not in ("CrossEntropyLoss", "BCEWithLogitsLoss") or inputs.data_ptr() == outputs.data_ptr():
            return
        # Labels that are shares are those of a teacher, whose outputs a temperature softens on purpose.
        if inputs.numel() != outputs.numel() or (call.name == "CrossEntropyLoss" and call.targets.is_floating_point()):
            return
        first, second = outputs.float().flatten(), inputs.float().flatten()
        factor = (first @ second) / (first @ first).clamp_min(1e-30)
        rest = (second - factor * first).norm() / second.norm().clamp_min(1e-30)

        def receive(arrays: Arrays) -> None:
            if float(arrays[0][1]) < _MULTIPLE and len(self.output_factors) < _KEPT:
                self.output_factors.append(float(arrays[0][0]))

        self._sender.send(receive, [torch.stack([factor, rest])])

    @torch.no_grad()
    def check_gradient(self, outputs: Tensor, gradient: Tensor) -> None:
        """Check the gradient of single outputs, (N, 1), under a loss that no call shows, such as one written by hand.

        The gradient of a binary cross entropy is c (p - y) for the logit of p, with the label y of each image. A line
        in p means that all images have the same y: the mean of the labels, where every output is compared with every
        label. The same for an output p, whose gradient is c (p - y) / (p (1 - p)), and for a loss that weighs images
        by how sure they are, where it is a smooth curve.
        """
        self._count()

        def receive(arrays: Arrays) -> None:
            values, slopes = (array.astype(np.float64).ravel() for array in arrays)
            shares = [(1 / (1 + np.exp(-np.clip(values, -50, 50))), slopes)]
            if values.min() > 0 and values.max() < 1:
                shares.append((values, slopes * values * (1 - values)))
            self.faults["broadcast"] += any(pulled_to_one_label(share, slope) for share, slope in shares)

        self._sender.send(receive, [outputs.detach().float().flatten(), gradient.detach().float().flatten()])


@torch.no_grad()
def softening(outputs: Tensor, call: LossCall) -> Tensor | None:
    """Return (), the factor by which outputs (N, C) were multiplied before their softmax, 1 for no such factor.

    Of losses whose labels are shares of classes, as those of a teacher are; None for others.
    """
    inputs, targets = call.inputs.detach().float(), call.targets
    shares = targets.is_floating_point() and targets.shape == inputs.shape == outputs.shape and inputs.dim() == 2
    if call.name not in ("CrossEntropyLoss", "KLDivLoss") or not shares:
        return None
    # The logarithm of a softmax differs from what it is of by one number in each row.
    first, second = (rows - rows.mean(1, keepdim=True) for rows in (outputs.float(), inputs))
    factor = (first * second).sum() / first.square().sum().clamp_min(1e-30)
    rest = (second - factor * first).norm() / second.norm().clamp_min(1e-30)
    return torch.where(rest < _MULTIPLE, factor, torch.ones_like(factor))


def _is_broadcast(column: Tensor, row: Tensor) -> bool:
    """Return True for two tensors (N, N) that are an expanded column and an expanded row, N above 1."""
    same = column.dim() == row.dim() == 2 and column.shape == row.shape and len(column) == column.shape[1] > 1
    return same and column.stride(1) == 0 and row.stride(0) == 0 and column.stride(0) != 0


def _would_broadcast(call: LossCall) -> bool:
    """Return True for outputs (N, 1) beside labels (N,), or the reverse, N above 1: together they are (N, N)."""
    pair = sorted((call.inputs.shape, call.targets.shape), key=len)
    return len(pair[0]) == 1 and len(pair[1]) == 2 and pair[1] == (pair[0][0], 1) and pair[0][0] > 1


def are_swapped(first: Tensor, second: Tensor) -> bool:
    """Return True if the second argument of a loss depends on the model and the first does not."""
    return second.requires_grad and not first.requires_grad


def _made_by(tensor: Tensor, operation: str) -> bool:
    """Return True if the last operation on a tensor was this one, as autograd names it ("Softmax"), or a view of it."""
    return _last_operation(tensor, operation) is not None


def _is_cut(tensor: Tensor) -> bool:
    """Return True if the last operation cut a tensor off to a range that is narrow for logits."""
    node = _last_operation(tensor, "Clamp") or _last_operation(tensor, "Hardtanh")
    bounds = [getattr(node, f"_saved_{name}", None) for name in ("min", "max", "min_val", "max_val")]
    numbers = [float(bound) for bound in bounds if isinstance(bound, (int, float))]
    return len(numbers) == 2 and numbers[1] - numbers[0] <= _NARROW


def _is_over_batch(call: LossCall) -> bool:
    """Return True for a softmax or its logarithm, (N, C), that was taken over the N images and not over the classes."""
    node = _last_operation(call.inputs, "Softmax") or _last_operation(call.inputs, "LogSoftmax")
    return call.inputs.dim() == 2 and len(call.inputs) > 1 and getattr(node, "_saved_dim", None) == 0


def _last_operation(tensor: Tensor, operation: str) -> Any:
    """Return the node of the last operation on a tensor, or on what it is a view of; None for another operation."""
    node = tensor.grad_fn
    for _ in range(3):
        if node is None:
            return None
        name = node.name()
        if name.startswith(f"{operation}Backward"):
            return node
        if not name.startswith(("Squeeze", "View", "ToCopy", "Reshape", "Unsqueeze", "Select", "Alias")):
            return None
        node = node.next_functions[0][0]
    return None
