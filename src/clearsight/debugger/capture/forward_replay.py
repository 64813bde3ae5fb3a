"""Replay: a forward pass again, on the same inputs, that leaves no trace on the model or on anything random."""

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
    """What a forward pass was called with: arguments by reference, and the autocast it ran under."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    device: str
    autocast: bool
    dtype: torch.dtype

    @classmethod
    def of(cls, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ForwardPass:
        """The pass that begins now with these arguments."""
        first = next(tensors_in((args, kwargs)), None)
        device = first.device.type if first is not None else "cpu"
        on = torch.is_autocast_enabled(device)
        return cls(args, kwargs, device, on, torch.get_autocast_dtype(device))

    def again(self, model: nn.Module, rows: int | None = None) -> Any:
        """The output of the model on the same arguments; with `rows` on the first so many of the batch."""
        args, kwargs = (self.args, self.kwargs) if rows is None else _cut((self.args, self.kwargs), rows)
        with torch.autocast(self.device, dtype=self.dtype, enabled=self.autocast, cache_enabled=False):
            return model(*args, **kwargs)

    def tensors(self) -> Iterator[Tensor]:
        """The tensors among the arguments."""
        yield from tensors_in((self.args, self.kwargs))


@contextmanager
def traceless(model: nn.Module, *, training: bool | None = None) -> Iterator[None]:
    """Within the block nothing needs gradients; afterwards buffers, random state and modes are what they were.

    training: the mode that all modules are put into; None leaves each as it is.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(module._buffers, dict(module._buffers)) for module in model.modules()]
    copies = {id(buffer): buffer.detach().clone() for buffer in model.buffers()}
    devices = sorted({tensor.device.index for tensor in model.parameters() if tensor.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        try:
            # Copies are put in their place, since autograd minds when what it has saved is written to, even unchanged.
            for here, held in buffers:
                here.update({name: None if buffer is None else copies[id(buffer)] for name, buffer in held.items()})
            if training is not None:
                for module, _ in modes:
                    module.training = training
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for here, held in buffers:
                here.update(held)


def first_nonfinite_layer(model: nn.Module, passes: Sequence[ForwardPass]) -> str | None:
    """Name of the first layer, in the order of computing, that makes NaN or infinity out of finite inputs.

    The passes are computed again; None where every output is finite.
    """
    born: list[str] = []
    with traceless(model), ExitStack() as hooks:
        for name, module in leaves(model):
            hooks.callback(module.register_forward_hook(_noting(name, born)).remove)
        for made in passes:
            made.again(model)
            if born:
                return born[0]
    return None


def all_finite(value: Any) -> bool:
    """Whether every floating tensor in a value is finite. Waits for the device."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors_in(value))


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The floating tensors in a value made of tuples, lists and mappings."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from tensors_in(part)


def _noting(name: str, born: list[str]) -> Callable[..., None]:
    def note(module: nn.Module, args: Any, output: Any) -> None:
        if not born and not all_finite(output):
            born.append(name)

    return note


def _cut(value: Any, rows: int) -> Any:
    if isinstance(value, Tensor):
        return value[:rows] if value.dim() else value
    if isinstance(value, Mapping):
        return {key: _cut(part, rows) for key, part in value.items()}
    return type(value)(_cut(part, rows) for part in value) if type(value) in (tuple, list) else value
