"""StackedOptimizer: the update rules of `training.optim` for K heads at once, in closed form.

Numbers that differ between heads (rate, decay, epsilon, momentum) are columns. The columns of a whole epoch of P pieces
are made at its begin: in a step they are only looked up. A step updates the first H of K heads (`BatchSchedule`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from clearsight.core.recipe import OptimSection, Recipe
from clearsight.training.heads.job import Floats
from clearsight.training.heads.network import HeadSlice, Parameters
from clearsight.training.heads.rows import BatchSchedule, Ints
from clearsight.training.optim import rate

_BETA1, _BETA2 = 0.9, 0.999  # torch's defaults, which no recipe changes


def epoch_rates(recipe: Recipe, epoch: int, steps: int) -> Floats:
    """Return (S,), the learning rate of each step of an epoch (from 1)."""
    first, planned = (epoch - 1) * steps, recipe.train.resolved_epochs * steps
    return np.array([rate(step, planned, steps, recipe.optim) for step in range(first, first + steps)])


class StackedOptimizer(ABC):
    """Updates the parameters of K heads: call `begin` for each epoch, then `step` for each of its pieces.

    values: the parameters.  recipes: a section for each head.  buffers: how many numbers are kept for each parameter:
    moments, and temporaries of a step, which are allocated once.
    """

    def __init__(self, recipes: Sequence[OptimSection], values: Parameters, buffers: int) -> None:
        self._recipes = list(recipes)
        self._values = values
        self._buffers = [values.zeros() for _ in range(buffers)]
        self._due: list[int] = []

    def only(self, heads: list[int], values: Parameters) -> None:
        """Leave out all but the heads of these indices, whose parameters are now `values`."""
        self._recipes = [self._recipes[head] for head in heads]
        self._values = values
        index = torch.tensor(heads, device=values.flat.device)
        # Copies: views would keep the memory of the heads that have ended.
        self._buffers = [buffer.only(index) for buffer in self._buffers]

    def begin(self, epoch: int, schedule: BatchSchedule, rates: Sequence[Floats]) -> None:
        """Prepare for the steps of an epoch (from 1). rates: for each head (S,), the learning rates of its steps."""
        self._due = schedule.due
        by_piece = [head_rates[schedule.number[:, head]] for head, head_rates in enumerate(rates)]
        self._begin(np.stack(by_piece, axis=1), (epoch - 1) * np.array(schedule.steps) + schedule.number + 1)

    @abstractmethod
    def step(self, piece: int, gradients: Parameters) -> None:
        """Update the heads whose batch ends with this piece (from 0). `gradients` may be overwritten."""

    @abstractmethod
    def _begin(self, rates: Floats, age: Ints) -> None:
        """Make the columns of each piece. rates: (P, K).  age: (P, K) steps up to and with the one it belongs to."""

    def _field(self, name: str) -> Floats:
        """Return (K,), one field of the recipes of all heads."""
        return np.array([getattr(optim, name) for optim in self._recipes], dtype=np.float64)

    def _columns(self, values: Floats) -> list[Tensor]:
        """Return for each piece a column (H, 1) of the H heads that take a step, from values (P, K)."""
        table = torch.from_numpy(values.astype(np.float32)).to(self._values.flat.device).unsqueeze(2).unbind()
        return [column[:due] for column, due in zip(table, self._due, strict=True)]

    def _add_decay(self, gradients: HeadSlice, values: HeadSlice, decay: Tensor) -> None:
        """Add decay (H, 1) times the weight to the gradient: L2."""
        for gradient, value, decays in zip(gradients.rows, values.rows, values.decays, strict=True):
            if decays:
                gradient.addcmul_(value, decay)

    def _descend(self, values: HeadSlice, changes: HeadSlice, scale: Tensor) -> None:
        """Compute value -= scale * change, with a scale (H, 1)."""
        for value, change in zip(values.rows, changes.rows, strict=True):
            value.addcmul_(change, scale, value=-1.0)


class StackedAdam(StackedOptimizer):
    """AdamW (decoupled decay), or Adam with L2.

    Source: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2. The bias corrections are
    moved into the rate and into epsilon: the same numbers with two passes less over the moments.
    """

    def __init__(self, recipes: Sequence[OptimSection], values: Parameters, *, decoupled: bool) -> None:
        super().__init__(recipes, values, buffers=3)
        self._decoupled = decoupled

    def _begin(self, rates: Floats, age: Ints) -> None:
        root = np.sqrt(1 - _BETA2**age)  # in float64: 1 - 0.999 loses digits in float32
        decay = np.broadcast_to(self._field("weight_decay"), rates.shape)
        self._scale = self._columns(rates * root / (1 - _BETA1**age))
        self._eps = self._columns(self._field("eps") * root)
        self._decay = self._columns(1 - rates * decay if self._decoupled else decay.copy())

    def step(self, piece: int, gradients: Parameters) -> None:
        due = self._due[piece]
        values, slopes = self._values.first(due), gradients.first(due)
        first, second, work = (buffer.first(due) for buffer in self._buffers)
        if self._decoupled:
            # Before the update, as torch does it, so that rounding agrees.
            for value, decays in zip(values.rows, values.decays, strict=True):
                if decays:
                    value.mul_(self._decay[piece])
        else:
            self._add_decay(slopes, values, self._decay[piece])
        for mean, square, slope, root in zip(first.pieces, second.pieces, slopes.pieces, work.pieces, strict=True):
            mean.lerp_(slope, 1 - _BETA1)
            square.mul_(_BETA2).addcmul_(slope, slope, value=1 - _BETA2)
            torch.sqrt(square, out=root)
        for root in work.rows:  # by rows: epsilon differs between heads
            root.add_(self._eps[piece])
        for mean, root in zip(first.pieces, work.pieces, strict=True):
            torch.div(mean, root, out=root)
        self._descend(values, work, self._scale[piece])


class StackedSGD(StackedOptimizer):
    """Stochastic gradient descent with momentum and L2; the buffer holds the velocity."""

    def __init__(self, recipes: Sequence[OptimSection], values: Parameters) -> None:
        super().__init__(recipes, values, buffers=1)

    def _begin(self, rates: Floats, age: Ints) -> None:
        self._scale = self._columns(rates)
        self._momentum = self._columns(np.broadcast_to(self._field("momentum"), rates.shape))
        self._decay = self._columns(np.broadcast_to(self._field("weight_decay"), rates.shape))

    def step(self, piece: int, gradients: Parameters) -> None:
        due = self._due[piece]
        values, slopes, velocities = self._values.first(due), gradients.first(due), self._buffers[0].first(due)
        self._add_decay(slopes, values, self._decay[piece])
        for velocity in velocities.rows:
            velocity.mul_(self._momentum[piece])
        for velocity, slope in zip(velocities.pieces, slopes.pieces, strict=True):
            velocity.add_(slope)
        self._descend(values, velocities, self._scale[piece])


def stacked_optimizer(recipes: Sequence[OptimSection], values: Parameters) -> StackedOptimizer:
    """Return the optimizer that all these recipes name, for the heads in `values`."""
    kind = recipes[0].optimizer
    if kind == "sgd":
        return StackedSGD(recipes, values)
    return StackedAdam(recipes, values, decoupled=kind == "adamw")
