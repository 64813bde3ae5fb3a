"""ForwardPass: computed again on the same inputs, it leaves no trace on the model or the random state.

So the first layer that makes NaN is found, and the losses of train mode and evaluation mode are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from clearsight.debugger.capture.model_inspection import InspectedModel, leaves
from clearsight.debugger.capture.predictions import BatchPredictions, class_logits

COMPARED = "train_mode_loss"  # scalar of every comparison
REPEATED = "eval_mode_difference"  # scalar of the first one
_ROWS = 32  # images of the batch that are compared: enough for the statistics of a BatchNorm, cheap on any model

# Comparisons a run: one per _STEPS steps, within these bounds. Each costs a forward pass of _ROWS images; the rule that
# reads them (BatchNormDrift) decides with three.
_FEWEST, _MOST, _STEPS = 3, 10, 100
# Where the length of the run is not known: from this step on, each as much later again, up to so many.
_FIRST, _LATER, _MOST_UNPLANNED = 8, 1.5, 16


@dataclass(frozen=True, slots=True)
class ForwardPass:
    """Arguments of a forward pass, by reference, and the autocast under which it ran."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    device: str
    autocast: bool
    dtype: torch.dtype

    @classmethod
    def of(cls, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ForwardPass:
        """Return the forward pass that begins now with these arguments."""
        first = next(tensors_in((args, kwargs)), None)
        device = first.device.type if first is not None else "cpu"
        return cls(args, kwargs, device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))

    def recompute(self, model: nn.Module, rows: int | None = None) -> Any:
        """Return the output of the model on the same arguments; with `rows` on the first rows of the batch."""
        args, kwargs = (self.args, self.kwargs) if rows is None else _first_rows((self.args, self.kwargs), rows)
        # Without autocast's cache: weights that are cast here, without gradients, would be reused by the training's own
        # forward passes of the same autocast block, which would then give no gradients.
        with torch.autocast(self.device, dtype=self.dtype, enabled=self.autocast, cache_enabled=False):
            return model(*args, **kwargs)

    def tensors(self) -> Iterator[Tensor]:
        """Return the floating-point tensors among the arguments."""
        return tensors_in((self.args, self.kwargs))


class ReplayFlag:
    """Flag that is up while the debugger computes a forward pass of its own, which no hook must count."""

    def __init__(self) -> None:
        self.active = False

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Raise the flag within the block."""
        self.active = True
        try:
            yield
        finally:
            self.active = False


@contextmanager
def traceless(model: nn.Module, *, training: bool | None = None) -> Iterator[None]:
    """Compute without gradients within the block; afterwards buffers, random state and modes are what they were.

    training: the mode of all modules within the block; None leaves each as it is.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(module._buffers, dict(module._buffers)) for module in model.modules()]
    copies = {id(buffer): buffer.detach().clone() for buffer in model.buffers()}
    # Of the model's devices alone: forking all generators would start every GPU of the machine.
    devices = sorted({tensor.device.index for tensor in model.parameters() if tensor.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        try:
            # Copies replace the buffers, instead of being written back afterwards: autograd refuses a backward when a
            # tensor that it saved was written to, even with equal values.
            for registered, originals in buffers:
                registered.update({name: copies.get(id(buffer)) for name, buffer in originals.items()})
            if training is not None:
                for module, _ in modes:
                    module.training = training
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for registered, originals in buffers:
                registered.update(originals)


class ModeComparison:
    """Compares a few times a run the loss of one batch in train mode and in evaluation mode: BatchNorms may disagree.

    The first time it also computes the batch twice in evaluation mode, where nothing random is left.

    planned: steps of the run; with 0, not known, the comparisons become ever rarer.
    """

    def __init__(self, planned: int) -> None:
        self._planned, self._last_step, self._count = planned, 0, 0

    def due(self, step: int) -> bool:
        """Return True if a comparison is made at this step."""
        if not self._planned:
            # The running statistics are noise at first, and a short run must have several comparisons after that.
            return self._count < _MOST_UNPLANNED and step >= max(_FIRST, _LATER * self._last_step)
        # By the number of the step alone: a resumed run compares where it would have anyway.
        gap = max(1, self._planned // max(_FEWEST, min(_MOST, self._planned // _STEPS)))
        return (step - 1) % gap == 0

    def losses(
        self, step: int, model: InspectedModel, forward: ForwardPass, batch: BatchPredictions
    ) -> dict[str, Tensor]:
        """Return train_mode_loss and eval_mode_loss of the first rows, and once eval_mode_difference: the largest
        difference of two passes in evaluation mode over the largest output. {} where the model cannot be compared.

        Changes nothing in the model.
        """
        # Counted first: a model without norms is not searched for them at every step.
        self._last_step, self._count = step, self._count + 1
        # By the number of the step where that is possible: a resumed run must not repeat it.
        is_first = step == 1 if self._planned else self._count == 1
        repeated, normed = is_first and model.replayable, model.normed
        if model.compiled or not (normed or repeated):
            return {}
        logits, labels = batch.logits[:_ROWS], batch.labels[:_ROWS]
        scalars: dict[str, Tensor] = {}
        with traceless(model.model, training=False):
            output = next(tensors_in(forward.recompute(model.model, len(labels))), None)
            if output is not None and repeated:
                again = next(tensors_in(forward.recompute(model.model, len(labels))), output)
                scalars[REPEATED] = (again - output).abs().max() / output.abs().max().clamp_min(1e-12)
            output = None if output is None else class_logits(output, batch.single)
            if normed and output is not None and output.shape == logits.shape:
                scalars[COMPARED] = functional.cross_entropy(logits, labels)
                scalars["eval_mode_loss"] = functional.cross_entropy(output.float(), labels)
        return scalars


def first_nonfinite_layer(model: nn.Module, forwards: Sequence[ForwardPass]) -> str | None:
    """Return the name of the first layer, in the order of computing, that makes NaN or infinity of finite inputs.

    The forward passes are computed again; None where every output is finite.
    """
    found: list[str] = []
    with traceless(model), ExitStack() as hooks:
        for name, module in leaves(model):
            hooks.callback(module.register_forward_hook(partial(_record_nonfinite, found, name)).remove)
        for forward in forwards:
            forward.recompute(model)
            if found:
                return found[0]
    return None


def all_finite(value: Any) -> bool:
    """Return True if every floating-point tensor in a value is finite. Waits for the device."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors_in(value))


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the floating-point tensors in a value made of tuples, lists and mappings."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from tensors_in(part)


def _record_nonfinite(found: list[str], name: str, module: nn.Module, args: Any, output: Any) -> None:
    if not found and not all_finite(output):
        found.append(name)


def _first_rows(value: Any, rows: int) -> Any:
    if isinstance(value, Tensor):
        return value[:rows] if value.dim() else value
    if isinstance(value, Mapping):
        return {key: _first_rows(part, rows) for key, part in value.items()}
    # Named tuples and other subclasses stay whole: their constructors take other arguments.
    return type(value)(_first_rows(part, rows) for part in value) if type(value) in (tuple, list) else value
