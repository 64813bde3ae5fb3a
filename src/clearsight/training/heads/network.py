"""K heads of one shape as one network: their parameters side by side, a layer of all of them one product.

K heads, B images in a batch, I inputs and O outputs of a layer, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clearsight.training.loop import step_generator

Masks: TypeAlias = Sequence[Tensor | None]  # for each layer (K, B, I), by which its inputs are multiplied

_BEFORE = ((), (nn.ReLU,), (nn.Dropout,), (nn.ReLU, nn.Dropout))  # what may stand before a linear layer


@dataclass(frozen=True, slots=True)
class HeadLayer:
    """A linear layer and what its inputs went through: a ReLU or not, then a dropout with `rate` or not (0)."""

    name: str  # what its parameters' names begin with
    inputs: int
    outputs: int
    relu: bool
    rate: float

    @property
    def shape(self) -> HeadLayer:
        """What two heads must have in common to be stacked: all but the rate, if there is one."""
        return replace(self, rate=float(self.rate > 0))


def layers_of(head: nn.Module) -> tuple[HeadLayer, ...]:
    """The linear layers of a head in order; () when it is anything else than a plain chain of them."""
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
        fits = tuple(map(type, before)) in _BEFORE and (bool(found) or not relu) and part.bias is not None
        if not fits or not all(p.requires_grad and p.dtype == torch.float32 for p in part.parameters()):
            return ()
        rate = sum(module.p for module in before if isinstance(module, nn.Dropout))
        found.append(HeadLayer(f"{name}." if name else "", part.in_features, part.out_features, relu, rate))
        before = []
    shared = len({id(p) for p in head.parameters()}) < 2 * len(found)
    return () if before or shared else tuple(found)


def stackable(head: nn.Module) -> bool:
    """Whether `train_stack` can train this head: one linear layer, or a chain of them with ReLU and dropout between."""
    return bool(layers_of(head))


@dataclass(frozen=True, slots=True)
class HeadSlice:
    """What belongs to some heads, as views. pieces: all of it in as few tensors as there can be.  rows: (H, size), a
    tensor for each parameter.  decays: for each row whether weight decay applies."""

    pieces: Sequence[Tensor]
    rows: Sequence[Tensor]
    decays: Sequence[bool]


class Parameters:
    """The parameters of K heads, or one number for each of them, in one buffer: what all heads have in common is one
    call on it; what differs is one call per parameter.

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
        """What belongs to the first heads; of all it is one piece."""
        if heads not in self._parts:  # a step has no time for cutting anew
            rows = [row[:heads] for row in self._all.rows]
            self._parts[heads] = HeadSlice(rows, rows, self._all.decays)
        return self._parts[heads]

    def zeros(self) -> Parameters:
        """A buffer of zeros of the same layout: for gradients, moments, work."""
        return Parameters({name: torch.zeros_like(block) for name, block in self.blocks.items()})

    def only(self, heads: Tensor) -> Parameters:
        """A copy with the heads of these indices."""
        return Parameters({name: block[heads] for name, block in self.blocks.items()})


class StackedNetwork:
    """K heads with the same layers. `forward`, then `backward`, which leaves the gradient in `gradients`."""

    def __init__(self, heads: Sequence[nn.Module], device: torch.device) -> None:
        chains = [layers_of(head) for head in heads]
        self.layers = chains[0]
        self.rates = [[layer.rate for layer in chain] for chain in chains]
        named = [dict(head.named_parameters()) for head in heads]
        stacked = {name: torch.stack([own[name].detach() for own in named]) for name in named[0]}
        self.values = Parameters({name: block.to(device) for name, block in stacked.items()})
        self.gradients = self.values.zeros()
        self._fed: list[Tensor] = []  # to each layer: (B, I) where all heads see the same, else (K, B, I)

    def only(self, heads: list[int]) -> None:
        """Leave out all but the heads of these indices."""
        self.values = self.values.only(torch.tensor(heads, device=self.values.flat.device))
        self.gradients = self.values.zeros()
        self.rates = [self.rates[head] for head in heads]

    def state(self, head: int) -> dict[str, Tensor]:
        """A copy of one head's parameters on the CPU, by the names of its module."""
        return {name: block[head].detach().cpu().clone() for name, block in self.values.blocks.items()}

    def masks(self, count: int, seed: int, step: int) -> Masks:
        """The dropout of one step for `count` images: what nn.Dropout would draw in a step of each head alone."""
        if not any(map(any, self.rates)):
            return [None] * len(self.layers)
        ones = [torch.ones(count, layer.inputs, device=self.values.flat.device) for layer in self.layers]
        drawn = []
        for rates in self.rates:
            step_generator(seed, 0, step)  # seeds torch, as before each step of the loop
            pairs = zip(ones, rates, strict=True)
            drawn.append([F.dropout(one, rate, training=True) if rate else None for one, rate in pairs])
        return [torch.stack(layer) if layer[0] is not None else None for layer in zip(*drawn, strict=True)]

    def forward(self, inputs: Tensor, masks: Masks | None = None) -> Tensor:
        """(B, I) -> logits (B, K, C). Without masks nothing is dropped."""
        self._fed = []
        value = inputs
        for layer, mask in zip(self.layers, masks or [None] * len(self.layers), strict=True):
            if layer.relu:
                value = value.relu_()
            if mask is not None:
                value = value * mask
            self._fed.append(value)
            value = self._linear(layer, value)
        return value.transpose(0, 1)

    def backward(self, slope: Tensor, masks: Masks, fresh: int) -> None:
        """From the slope of the loss at the logits (B, K, C) to that at each parameter, in `gradients`.

        fresh: of so many heads, the first ones, a batch begins; those of the others are added to what is there.
        """
        slope = slope.transpose(0, 1)
        anew = fresh == len(self.rates)
        if not anew:
            for row in self.gradients.first(fresh).rows:
                row.zero_()
        for number in reversed(range(len(self.layers))):
            layer, fed, mask = self.layers[number], self._fed[number], masks[number]
            self._collect(layer, slope, fed, anew=anew)
            if number == 0:
                break
            slope = torch.bmm(slope, self.values.blocks[f"{layer.name}weight"])
            if mask is not None:
                slope.mul_(mask)
            if layer.relu:
                slope.mul_(fed > 0)  # what was dropped is 0 too, and has no slope already

    def _linear(self, layer: HeadLayer, value: Tensor) -> Tensor:
        """(B, I) or (K, B, I) -> (K, B, O)."""
        weight, bias = self.values.blocks[f"{layer.name}weight"], self.values.blocks[f"{layer.name}bias"]
        if value.ndim == 2:  # all heads see the same: one product of all their rows
            # The weights come first: for few classes the product is faster this way round, up to 1.6 times.
            flat = torch.mm(weight.view(-1, layer.inputs), value.T).add_(bias.view(-1, 1))  # (K * O, B)
            return flat.view(-1, layer.outputs, len(value)).transpose(1, 2)
        return torch.baddbmm(bias.unsqueeze(1), value, weight.transpose(1, 2))

    def _collect(self, layer: HeadLayer, slope: Tensor, fed: Tensor, *, anew: bool) -> None:
        """Gradients of one layer from the slope at its outputs (K, B, O), in place of what is there or added to it."""
        weight, bias = self.gradients.blocks[f"{layer.name}weight"], self.gradients.blocks[f"{layer.name}bias"]
        kept = 0.0 if anew else 1.0  # with 0 not even a NaN that is there counts
        if anew:
            torch.sum(slope, 1, out=bias)
        else:
            bias.add_(slope.sum(1))
        if fed.ndim == 2:
            columns = slope.transpose(0, 1).reshape(len(fed), -1)  # (B, K * O)
            weight.view(-1, layer.inputs).addmm_(columns.T, fed, beta=kept)
        else:
            weight.baddbmm_(slope.transpose(1, 2), fed, beta=kept)
