"""The update rules of `training.optim` over K heads at once, in closed form.

What differs between heads (rate, decay, epsilon, momentum) is a column (K, 1). The columns of a whole epoch of S steps
are made at its begin: in a step they are only looked up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from clearsight.core.recipe import OptimSection, Recipe
from clearsight.training.optim import rate
from clearsight.training.stack_job import Floats
from clearsight.training.stack_network import Parameters

_BETA1, _BETA2 = 0.9, 0.999  # torch's own, which no recipe changes


def epoch_rates(recipes: Sequence[Recipe], epoch: int, steps: int) -> Floats:
    """(S, K) learning rate of each step of an epoch for each head."""
    first = (epoch - 1) * steps
    rows = [
        [rate(step, how.train.passes * steps, steps, how.optim) for step in range(first, first + steps)]
        for how in recipes
    ]
    return np.array(rows).T


class StackedOptimizer(ABC):
    """Changes the parameters of K heads by their gradients; `begin` each epoch, then `step` through it."""

    def __init__(self, recipes: Sequence[OptimSection], values: Parameters) -> None:
        self._recipes = list(recipes)
        self._values = values
        self._work = values.zeros()

    def only(self, heads: list[int], values: Parameters) -> None:
        """Leave out all but the heads of these indices, whose parameters are now `values`."""
        self._recipes = [self._recipes[head] for head in heads]
        self._values, self._work = values, values.zeros()
        self._keep(torch.tensor(heads, device=values.flat.device))

    @abstractmethod
    def begin(self, rates: Floats, first: int) -> None:
        """Make ready for the steps `first`, ... of an epoch (counted from 0 over the run) with these rates (S, K)."""

    @abstractmethod
    def step(self, number: int, gradients: Parameters) -> None:
        """Step `number` (from 0) of the epoch; the gradients may be changed."""

    @abstractmethod
    def _keep(self, heads: Tensor) -> None:
        """Keep the moments of these heads alone."""

    def _setting(self, name: str) -> Floats:
        """(K,) one setting of all heads."""
        return np.array([getattr(how, name) for how in self._recipes], dtype=np.float64)

    def _columns(self, values: Floats) -> tuple[Tensor, ...]:
        """(S, K) -> for each step a column (K, 1)."""
        return torch.from_numpy(values.astype(np.float32)).to(self._values.flat.device).unsqueeze(2).unbind()

    def _add_decay(self, gradients: Parameters, decay: Tensor) -> None:
        """L2: decay (K, 1) times the weight joins the gradient."""
        for gradient, value, decays in zip(gradients.rows, self._values.rows, gradients.decays, strict=True):
            if decays:
                gradient.addcmul_(value, decay)

    def _descend(self, scale: Tensor) -> None:
        """value -= scale * work, with a scale (K, 1)."""
        for value, work in zip(self._values.rows, self._work.rows, strict=True):
            value.addcmul_(work, scale, value=-1.0)


class StackedAdam(StackedOptimizer):
    """AdamW (decoupled decay), or Adam with L2.

    Source: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2. The bias corrections are
    moved into the rate and into epsilon: the same numbers with two passes over the moments less.
    """

    def __init__(self, recipes: Sequence[OptimSection], values: Parameters, *, decoupled: bool) -> None:
        super().__init__(recipes, values)
        self._decoupled = decoupled
        self._first, self._second = values.zeros(), values.zeros()

    def begin(self, rates: Floats, first: int) -> None:
        age = np.arange(first + 1, first + 1 + len(rates), dtype=np.float64)[:, None]
        root = np.sqrt(1 - _BETA2**age)  # (S, 1)
        decay = np.broadcast_to(self._setting("weight_decay"), rates.shape)
        self._scale = self._columns(rates * root / (1 - _BETA1**age))
        self._eps = self._columns(self._setting("eps") * root)
        self._decay = self._columns(1 - rates * decay if self._decoupled else decay.copy())

    def step(self, number: int, gradients: Parameters) -> None:
        if self._decoupled:
            for value, decays in zip(self._values.rows, self._values.decays, strict=True):
                if decays:
                    value.mul_(self._decay[number])
        else:
            self._add_decay(gradients, self._decay[number])
        self._first.flat.lerp_(gradients.flat, 1 - _BETA1)
        self._second.flat.mul_(_BETA2).addcmul_(gradients.flat, gradients.flat, value=1 - _BETA2)
        torch.sqrt(self._second.flat, out=self._work.flat)
        for work in self._work.rows:
            work.add_(self._eps[number])
        torch.div(self._first.flat, self._work.flat, out=self._work.flat)
        self._descend(self._scale[number])

    def _keep(self, heads: Tensor) -> None:
        self._first, self._second = self._first.only(heads), self._second.only(heads)


class StackedSGD(StackedOptimizer):
    """Gradient descent with momentum and L2; `_work` is the velocity."""

    def only(self, heads: list[int], values: Parameters) -> None:
        velocity = self._work
        super().only(heads, values)
        self._work = velocity.only(torch.tensor(heads, device=values.flat.device))

    def begin(self, rates: Floats, first: int) -> None:
        self._scale = self._columns(rates)
        self._momentum = self._columns(self._setting("momentum")[None])[0]
        self._decay = self._columns(self._setting("weight_decay")[None])[0]

    def step(self, number: int, gradients: Parameters) -> None:
        self._add_decay(gradients, self._decay)
        for work in self._work.rows:
            work.mul_(self._momentum)
        self._work.flat.add_(gradients.flat)
        self._descend(self._scale[number])

    def _keep(self, heads: Tensor) -> None:
        """Nothing beside the velocity."""


def stacked_optimizer(recipes: Sequence[OptimSection], values: Parameters) -> StackedOptimizer:
    """The optimizer that all these recipes name, over the heads that `values` holds."""
    kind = recipes[0].optimizer
    if kind == "sgd":
        return StackedSGD(recipes, values)
    return StackedAdam(recipes, values, decoupled=kind == "adamw")
