"""Defaults of a recipe that depend on the network, the data or the machine; the recipe on disk has them filled in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clearsight.core.learning_rates import head_rate
from clearsight.core.recipe import Recipe
from clearsight.workflow.prepare.cacheable import HEAD_EPOCHS, uncacheable

if TYPE_CHECKING:
    from clearsight.models.network import Network


def resolve_defaults(recipe: Recipe, network: Network, images: int, processes: int = 1) -> Recipe:
    """Return the recipe with `epochs`, `lr` and `head_lr` filled in where they are unset. images: of the train split.

    A head that is trained alone gets the rate of `core.learning_rates.head_rate`.
    """
    from clearsight.models.freeze import freeze  # loads torch, which the process that leads a study does not need

    head_only = freeze(network, recipe.model.freeze).cut == len(network.stages)
    changes: dict[str, object] = {}
    batch = recipe.train.batch_size * recipe.optim.accumulate * processes
    steps = -(-images // batch)  # of an epoch
    if recipe.train.epochs is None:
        cached = head_only and not uncacheable(recipe, len(network.stages))
        changes["epochs"] = HEAD_EPOCHS if cached else recipe.train.resolved_epochs
    if recipe.optim.lr is None:
        changes["lr"] = recipe.optim.resolved_lr
        if head_only:  # after the epochs, since the rate of a head depends on how many steps it has
            changes["lr"] = _rounded_head_rate(recipe, recipe.replace(**changes).train.resolved_epochs * steps)
    if recipe.optim.head_lr is None and recipe.train.head_epochs and not head_only:
        # A given lr is meant for the head phase too: whoever chose it has seen it train this data.
        is_given = recipe.optim.lr is not None
        head_steps = recipe.train.head_epochs * steps
        changes["head_lr"] = recipe.optim.lr if is_given else _rounded_head_rate(recipe, head_steps)
    return recipe.replace(**changes) if changes else recipe


def _rounded_head_rate(recipe: Recipe, steps: int) -> float:
    """Return the peak rate for a new head that has so many steps, to two digits: more would suggest precision."""
    return float(f"{head_rate(recipe.optim.optimizer, steps):.2g}")


def weights_path(weights: str) -> str:
    """Return a weights setting with the path of a file made absolute; "default" and "none" stay as they are.

    A recipe on disk may be used again from another folder, where a relative path would name another file.
    """
    return weights if weights in ("default", "none") else str(Path(weights).expanduser().resolve())
