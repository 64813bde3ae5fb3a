"""Network: a model of the zoo, cut into stages and a head.

A stage never owns weights of its own: it runs modules of the zoo's model, so names, checkpoints and `model(images)`
stay those of the zoo.

Shapes: N images, S pixels a side, D features, C classes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from clearsight.core.errors import BadValue
from clearsight.core.preprocess import Preprocess


@dataclass(frozen=True, eq=False)
class Stage:
    """Named piece of a backbone. run: a module over submodules and parameters of the model."""

    name: str
    run: nn.Module

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.run.parameters()


@dataclass(frozen=True, kw_only=True, eq=False)  # compared by identity: modules have no equality
class Network:
    """A classifier from the zoo with its own head.

    `stages` one after another and then `head` equal `model(images)`: (N, 3, S, S) float32 -> (N, D) -> (N, C).
    model: the zoo's module with its classifier replaced by `head`, under the name `head_name`.
    weights: one sentence for the log: which weights, and where mean and std come from.
    weights_file: path of the file that they came from, "" for random ones and downloads.
    fixed: names of parameters that the zoo keeps constant (sine position tables).
    saved_head: tensors of the head that the weights came with, {} where its classes are others. A head of the same
    layers starts from them.
    """

    name: str
    model: nn.Module
    stages: tuple[Stage, ...]
    head: nn.Module
    head_name: str
    features: int
    preprocess: Preprocess
    weights: str
    weights_file: str = ""
    fixed: frozenset[str] = frozenset()
    saved_head: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names of the stages in the order in which they run."""
        return tuple(stage.name for stage in self.stages)

    def head_parameters(self) -> list[nn.Parameter]:
        return list(self.head.parameters())

    def backbone_parameters(self) -> list[nn.Parameter]:
        return [parameter for stage in self.stages for parameter in stage.parameters()]

    def prefix(self, cut: int) -> nn.Sequential:
        """Return the first `cut` stages as one module that shares their parameters; 0 gives an identity."""
        return _chain(self.stages[:cut])

    def suffix(self, cut: int) -> nn.Sequential:
        """Return all but the first `cut` stages, and the head; `len(stages)` gives the head alone, (N, D) -> (N, C)."""
        chain = _chain(self.stages[cut:])
        chain.add_module("head", self.head)
        return chain

    def with_preprocess(self, preprocess: Preprocess) -> Network:
        """Return the network, sharing its weights, with other preprocessing.

        Raises BadValue if images of that size do not pass through it: one image of zeros does, on the device of the
        weights; modes and statistics do not change.
        """
        size = preprocess.size
        if size != self.preprocess.size:  # what the zoo declares fits; a forward pass of a large model takes a second
            parameter = next(self.model.parameters())
            zeros = torch.zeros(1, 3, size, size, device=parameter.device, dtype=parameter.dtype)
            try:
                with evaluating(self.model), torch.inference_mode():
                    self.model(zeros)
            except (RuntimeError, AssertionError, ValueError) as error:  # torch's error, and those of timm
                problem = f"{self.name} does not take images of that size ({first_line(error)})"
                fix = f"Use its own size: --image-size {self.preprocess.size}."
                raise BadValue(f"--image-size {size}", problem, fix=fix) from None
        return replace(self, preprocess=preprocess)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[nn.Module]:
    """Set `module` to eval mode within the block; afterwards every submodule has its mode of before."""
    modes = [(part, part.training) for part in module.modules()]  # train() would reset frozen parts, too
    try:
        yield module.eval()
    finally:
        for part, training in modes:
            part.training = training


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return optimizer groups of the trainable parameters: weights (two or more axes) decay, biases and norms do not.

    Source: He et al. 2019, "Bag of Tricks for Image Classification", section 3.1 (no bias decay).
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _chain(stages: Sequence[Stage]) -> nn.Sequential:
    # Module names must not contain a dot, and stages have them ("blocks.3"), after the zoo's parameters.
    return nn.Sequential(OrderedDict((stage.name.replace(".", "_"), stage.run) for stage in stages))


def first_line(error: Exception) -> str:
    """Return the first line of the text of an error of torch, which may have hundreds; its class without a text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
