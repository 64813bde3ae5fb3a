"""Weights at the start and behind the outputs: whether they look random, and which of them the model does not know."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from clearsight.debugger.capture.model_inspection import InspectedModel, kind

_LAYERS = 8  # that are looked at, evenly over the model
_ROWS, _LEAST_ROWS = 256, 8  # of a part of a weight: more tells no more, fewer tell nothing
_RANDOM = 1.1  # largest singular value over that of independent random numbers; measured up to 1.05
_PASSES = 3  # forward passes whose graph is read: a weight that is made anew is another one in each
_NODES = 20_000  # of a graph


@torch.no_grad()
def random_share(model: InspectedModel) -> float | None:
    """Return the share of the hidden weights that look like independent random numbers; None where none can tell.

    The largest singular value of independent numbers of standard deviation s in an (M, N) matrix is about
    s (sqrt(M) + sqrt(N)), whatever their distribution. Training makes it larger.
    Source: Bai and Yin 1993, "Limit of the smallest eigenvalue of a large dimensional sample covariance matrix".
    """
    # Layers of other libraries may be called linear and keep their weights elsewhere.
    weights = [getattr(layer, "weight", None) for _, layer in model.layers if kind(layer) in ("conv", "linear")][:-1]
    usable = [weight for weight in weights if isinstance(weight, Tensor) and weight.is_floating_point()]
    matrices = [weight.detach().flatten(1) for weight in usable if weight.dim() > 1]
    matrices = [matrix for matrix in matrices if min(matrix.shape) >= _LEAST_ROWS]
    stride = -(-len(matrices) // _LAYERS)
    parts = [matrix[:_ROWS, :_ROWS].float() for matrix in matrices[::stride]] if matrices else []
    ratios = [ratio for part in parts if (ratio := _largest_ratio(part)) is not None]
    return float(np.mean([ratio < _RANDOM for ratio in ratios])) if ratios else None


def _largest_ratio(matrix: Tensor) -> float | None:
    """Return the largest singular value over that of independent numbers of the same size; None for all zeros."""
    size = float(matrix.square().mean().sqrt())
    if not 0 < size < float("inf"):
        return None
    expected = size * (math.sqrt(matrix.shape[0]) + math.sqrt(matrix.shape[1]))
    return float(torch.linalg.matrix_norm(matrix, 2)) / expected


class HiddenWeights:
    """Finds weights that the outputs of a model depend on, and that are neither its parameters nor an optimizer's.

    Layers in a Python list are such weights, and layers that forward makes anew in every pass.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._passes = 0
        self._weights: dict[int, weakref.ref[Tensor]] = {}  # of the last pass that was read
        self._held: set[int] = set()  # by optimizers
        self.renewed = 0  # passes without any of the hidden weights of the pass before

    @property
    def count(self) -> int:
        """Number of hidden weights."""
        return len(self._weights.keys() - self._held)

    def read(self, output: Tensor, inputs: Iterable[Tensor]) -> None:
        """Read the graph of the output of a forward pass; later passes than the first few are left alone."""
        if self._passes >= _PASSES or output.grad_fn is None:
            return
        self._passes += 1
        known = {id(tensor) for tensor in (*self._model.parameters(), *inputs)}
        hidden = {id(leaf): weakref.ref(leaf) for leaf in leaves_of(output) if leaf.dim() > 1 and id(leaf) not in known}
        before = [weight() for weight in self._weights.values()]
        self.renewed += bool(before and hidden) and not any(id(weight) in hidden for weight in before)
        self._weights = hidden

    def hold(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave out what an optimizer holds, of whatever model."""
        if self._weights:
            self._held |= {id(p) for group in optimizer.param_groups for p in group["params"]}


def leaves_of(output: Tensor) -> list[Tensor]:
    """Return the leaf tensors that a gradient of `output` reaches."""
    waiting, seen, leaves = [output.grad_fn], set[object](), list[Tensor]()
    while waiting and len(seen) < _NODES:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(leaf := getattr(node, "variable", None), Tensor):
            leaves.append(leaf)
        waiting.extend(following for following, _ in node.next_functions)
    return leaves


def unset_norms(model: nn.Module) -> tuple[int, int]:
    """Return how many BatchNorms still have the running statistics 0 and 1 of a new layer, and how many there are."""
    norms = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None
    ]
    unset = [norm for norm in norms if _is_unset(norm)]
    return len(unset), len(norms)


def _is_unset(norm: nn.modules.batchnorm._BatchNorm) -> bool:
    mean, var = norm.running_mean, norm.running_var
    return mean is not None and var is not None and not bool(mean.any()) and bool((var == 1).all())
