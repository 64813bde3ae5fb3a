"""ForwardPass: computed again on the same inputs, it leaves no trace on the model or the random state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clearsight.debugger.capture.model_inspection import leaves


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
        """Yield the tensors among the arguments."""
        yield from tensors_in((self.args, self.kwargs))


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
                registered.update(
                    {n: None if buffer is None else copies[id(buffer)] for n, buffer in originals.items()}
                )
            if training is not None:
                for module, _ in modes:
                    module.training = training
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for registered, originals in buffers:
                registered.update(originals)


def first_nonfinite_layer(model: nn.Module, forwards: Sequence[ForwardPass]) -> str | None:
    """Return the name of the first layer, in the order of computing, that makes NaN or infinity of finite inputs.

    The forward passes are computed again; None where every output is finite.
    """
    found: list[str] = []
    with traceless(model), ExitStack() as hooks:
        for name, module in leaves(model):
            hooks.callback(module.register_forward_hook(_recorder(name, found)).remove)
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


def _recorder(name: str, found: list[str]) -> Callable[..., None]:
    def record(module: nn.Module, args: Any, output: Any) -> None:
        if not found and not all_finite(output):
            found.append(name)

    return record


def _first_rows(value: Any, rows: int) -> Any:
    if isinstance(value, Tensor):
        return value[:rows] if value.dim() else value
    if isinstance(value, Mapping):
        return {key: _first_rows(part, rows) for key, part in value.items()}
    # Named tuples and other subclasses stay whole: their constructors take other arguments.
    return type(value)(_first_rows(part, rows) for part in value) if type(value) in (tuple, list) else value
