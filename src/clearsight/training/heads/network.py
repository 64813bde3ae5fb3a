"""StackedNetwork: K heads of one shape as one network; a layer of all heads is one matrix product.

K heads, B images in a batch, I inputs and O outputs of a layer, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clearsight.core.machine import TORCH_RANDOM
from clearsight.training.step import step_generator

Masks: TypeAlias = Sequence[Tensor | None]  # for each layer (K, B, I), by which its inputs are multiplied

_ALLOWED_BEFORE = ((), (nn.ReLU,), (nn.Dropout,), (nn.ReLU, nn.Dropout))  # modules between two linear layers


@dataclass(frozen=True, slots=True)
class HeadLayer:
    """Linear layer, with the ReLU and the dropout before it, if any. rate: of the dropout, 0 for none.

    name: prefix of the names of its parameters.
    """

    name: str
    inputs: int
    outputs: int
    relu: bool
    rate: float

    @property
    def shape(self) -> HeadLayer:
        """The layer without the value of its rate: what two heads must have in common to be stacked."""
        return replace(self, rate=float(self.rate > 0))


def layers_of(head: nn.Module) -> tuple[HeadLayer, ...]:
    """Return the linear layers of a head in order; () when it is anything else than a plain chain of them."""
    chain = [("", head)]
    if type(head) is nn.Sequential:
        chain = list(head._modules.items())  # named_children would leave out a ReLU that stands in it twice
    found: list[HeadLayer] = []
    before: list[nn.Module] = []
    for name, part in chain:
        if type(part) is not nn.Linear:
            before.append(part)
            continue
        relu = any(type(module) is nn.ReLU for module in before)
        fits = tuple(map(type, before)) in _ALLOWED_BEFORE and (bool(found) or not relu) and part.bias is not None
        if not fits or not all(p.requires_grad and p.dtype == torch.float32 for p in part.parameters()):
            return ()
        rate = sum(module.p for module in before if isinstance(module, nn.Dropout))
        found.append(HeadLayer(f"{name}." if name else "", part.in_features, part.out_features, relu, rate))
        before = []
    shared = len({id(p) for p in head.parameters()}) < 2 * len(found)
    return () if before or shared else tuple(found)


def stackable(head: nn.Module) -> bool:
    """Return True if `train_heads` can train this head: linear layers with ReLU and dropout between them."""
    return bool(layers_of(head))


@dataclass(frozen=True, slots=True)
class HeadSlice:
    """Views of the parameters of H heads. pieces: all of them in as few tensors as possible.  rows: (H, size), a tensor
    for each parameter.  decays: for each row, True if weight decay applies to it.
    """

    pieces: Sequence[Tensor]
    rows: Sequence[Tensor]
    decays: Sequence[bool]


class Parameters:
    """The parameters of K heads, or one number for each parameter, in one buffer.

    An operation that is the same for all heads is one call on the buffer; others are one call per parameter.

    flat: all of them.  blocks: parameter name -> (K, *shape), a view of flat.  heads: K.
    """

    def __init__(self, blocks: Mapping[str, Tensor]) -> None:
        self.flat = torch.cat([block.reshape(-1) for block in blocks.values()])
        parts: Sequence[Tensor] = torch.split(self.flat, [block.numel() for block in blocks.values()])
        self.blocks = {name: part.view(blocks[name].shape) for name, part in zip(blocks, parts, strict=True)}
        self.heads = len(next(iter(self.blocks.values())))
        rows = [block.view(self.heads, -1) for block in self.blocks.values()]
        # As `models.network.parameter_groups` has it: neither biases nor norms decay.
        self._all = HeadSlice((self.flat,), rows, [block.ndim > 2 for block in self.blocks.values()])
        self._parts = {self.heads: self._all}

    def first(self, heads: int) -> HeadSlice:
        """Return the parameters of the first heads; those of all heads are one piece."""
        if heads not in self._parts:  # cached: slicing in every step would take longer than the step's arithmetic
            rows = [row[:heads] for row in self._all.rows]
            self._parts[heads] = HeadSlice(rows, rows, self._all.decays)
        return self._parts[heads]

    def zeros(self) -> Parameters:
        """Return zeros of the same layout: for gradients, moments, temporaries."""
        return Parameters({name: torch.zeros_like(block) for name, block in self.blocks.items()})

    def only(self, heads: Tensor) -> Parameters:
        return Parameters({name: block[heads] for name, block in self.blocks.items()})


class StackedNetwork:
    """K heads with the same layers. `forward`, then `backward`, which leaves the gradient in `gradients`."""

    def __init__(self, heads: Sequence[nn.Module], device: torch.device) -> None:
        chains = [layers_of(head) for head in heads]
        self.layers = chains[0]
        self.rates = [[layer.rate for layer in chain] for chain in chains]
        named = [dict(head.named_parameters()) for head in heads]
        stacked = {name: torch.stack([parameters[name].detach() for parameters in named]) for name in named[0]}
        self.values = Parameters({name: block.to(device) for name, block in stacked.items()})
        self.gradients = self.values.zeros()
        self._inputs: list[Tensor] = []  # of each layer: (B, I) where they are the same for all heads, else (K, B, I)

    def only(self, heads: list[int]) -> None:
        """Leave out all but the heads of these indices."""
        self.values = self.values.only(torch.tensor(heads, device=self.values.flat.device))
        self.gradients = self.values.zeros()
        self.rates = [self.rates[head] for head in heads]

    def state(self, head: int) -> dict[str, Tensor]:
        """Return a copy of one head's parameters on the CPU, by the names of its module."""
        return {name: block[head].detach().cpu().clone() for name, block in self.values.blocks.items()}

    def masks(self, count: int, seed: int, step: int) -> Masks:
        """Return the dropout masks of one step for `count` images, as nn.Dropout draws them for each head alone."""
        if not any(map(any, self.rates)):
            return [None] * len(self.layers)
        ones = [torch.ones(count, layer.inputs, device=self.values.flat.device) for layer in self.layers]
        masks = []
        for rates in self.rates:
            with TORCH_RANDOM:
                step_generator(seed, 0, step)  # seeds torch, as before each step of the loop
                pairs = zip(ones, rates, strict=True)
                masks.append([F.dropout(mask, rate, training=True) if rate else None for mask, rate in pairs])
        return [torch.stack(layer) if layer[0] is not None else None for layer in zip(*masks, strict=True)]

    def forward(self, inputs: Tensor, masks: Masks | None = None) -> Tensor:
        """Return the logits (B, K, C) of inputs (B, I). Without masks nothing is dropped."""
        self._inputs = []
        value = inputs
        for layer, mask in zip(self.layers, masks or [None] * len(self.layers), strict=True):
            if layer.relu:
                value = value.relu_()
            if mask is not None:
                value = value * mask
            self._inputs.append(value)
            value = self._linear(layer, value)
        return value.transpose(0, 1)

    def backward(self, slopes: Tensor, masks: Masks, fresh: int) -> None:
        """Backpropagate the gradient of the loss at the logits (B, K, C) to that at each parameter, in `gradients`.

        fresh: number of the first heads whose batch begins; gradients of the other heads are added to those there.
        """
        slopes = slopes.transpose(0, 1)
        overwrite = fresh == len(self.rates)
        if not overwrite:
            for row in self.gradients.first(fresh).rows:
                row.zero_()
        for number in reversed(range(len(self.layers))):
            layer, inputs, mask = self.layers[number], self._inputs[number], masks[number]
            self._collect(layer, slopes, inputs, overwrite=overwrite)
            if number == 0:
                break
            slopes = torch.bmm(slopes, self.values.blocks[f"{layer.name}weight"])
            if mask is not None:
                slopes.mul_(mask)
            if layer.relu:
                slopes.mul_(inputs > 0)  # dropped inputs are 0 too; their gradient is 0 already

    def _linear(self, layer: HeadLayer, value: Tensor) -> Tensor:
        """Return the outputs (K, B, O) of inputs (B, I) or (K, B, I)."""
        weight, bias = self.values.blocks[f"{layer.name}weight"], self.values.blocks[f"{layer.name}bias"]
        if value.ndim == 2:  # the same inputs for all heads: one product with all their rows
            # The weights come first: for few classes the product is up to 1.6 times faster in this order.
            flat = torch.mm(weight.view(-1, layer.inputs), value.T).add_(bias.view(-1, 1))  # (K * O, B)
            return flat.view(-1, layer.outputs, len(value)).transpose(1, 2)
        return torch.baddbmm(bias.unsqueeze(1), value, weight.transpose(1, 2))

    def _collect(self, layer: HeadLayer, slopes: Tensor, inputs: Tensor, *, overwrite: bool) -> None:
        """Write or add the gradients of one layer, from the gradient at its outputs (K, B, O)."""
        weight, bias = self.gradients.blocks[f"{layer.name}weight"], self.gradients.blocks[f"{layer.name}bias"]
        beta = 0.0 if overwrite else 1.0  # with 0, addmm_ ignores the old values, NaN included
        if overwrite:
            torch.sum(slopes, 1, out=bias)
        else:
            bias.add_(slopes.sum(1))
        if inputs.ndim == 2:
            columns = slopes.transpose(0, 1).reshape(len(inputs), -1)  # (B, K * O)
            weight.view(-1, layer.inputs).addmm_(columns.T, inputs, beta=beta)
        else:
            weight.baddbmm_(slopes.transpose(1, 2), inputs, beta=beta)
