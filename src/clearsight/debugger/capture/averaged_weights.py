"""Moving average of the weights that a loop keeps in a copy of its model, and how far it has come."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import torch
from torch import Tensor, nn

_LINE = 0.5  # least cosine between the way of the average and that of the weights


@torch.no_grad()
def averaged_share(model: nn.Module, last: nn.Parameter, before: Tensor) -> float | None:
    """Return the share of the way of a weight that its moving average in a copy of the model has gone.

    last: a weight of the model.  before: the same, before the training.  None where no copy in evaluation mode holds
    weights between the two; of several the one that has gone least. Takes about 0.1 s, so once a run.
    """
    way = (last.detach().to(before) - before).flatten()
    length = float(torch.linalg.vector_norm(way))
    if not length:
        return None
    shares = []
    for weight in _copied_weights(model, last):
        gone = (weight.to(before) - before).flatten()
        distance = float(torch.linalg.vector_norm(gone))
        # A copy that has not moved is no average, nor is one that was trained elsewhere.
        if distance and float(gone @ way) > _LINE * distance * length:
            shares.append(float(gone @ way) / length**2)
    return min(shares, default=None)


def _copied_weights(model: nn.Module, last: nn.Parameter) -> Iterator[Tensor]:
    """Yield the finite weight of the same name in every copy of the model that is in evaluation mode."""
    name = next((name for name, parameter in model.named_parameters() if parameter is last), "")
    gc.collect()  # copies that only garbage refers to
    # All objects of the process, since nothing in the model leads to its copies. By the type, because `isinstance`
    # would wake lazy modules.
    for copy in [found for found in gc.get_objects() if type(found) is type(model) and found is not model]:
        weight = None if copy.training else dict(copy.named_parameters()).get(name)
        if weight is not None and weight.shape == last.shape and bool(torch.isfinite(weight).all()):
            yield weight.detach()
