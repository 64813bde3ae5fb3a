"""Settings that were left open, settled once the network and the data are known; the recipe on disk says them all."""

from __future__ import annotations

from clearsight.core.recipe import Recipe
from clearsight.models.freeze import freeze
from clearsight.models.network import Network
from clearsight.workflow.phases import uncacheable

_HEAD_EPOCHS = 30  # of a head on cached features, where an epoch costs milliseconds
_HEAD_REACH = 0.6  # lr x steps
_HEAD_RATES = (1e-3, 5e-3)


def settled(recipe: Recipe, network: Network, pictures: int, processes: int = 1) -> Recipe:
    """The recipe with `epochs` and `lr` filled in where nothing was said; `pictures` is the size of the train split.

    Adam moves a weight by about the rate in each step, whatever the gradient's size, so a run can carry it no further
    than rate x steps (half of that under a cosine). A new head starts near zero and has to grow: with few steps at
    0.001 it stops half-way, and the rate is raised so that rate x steps is about 0.6.
    Source of the bound: Kingma & Ba 2015, "Adam", section 2.1.
    """
    head_only = freeze(network, recipe.model.freeze).cut == len(network.stages)
    changes: dict[str, object] = {}
    if recipe.train.epochs is None:
        cached = head_only and not uncacheable(recipe, len(network.stages))
        changes["epochs"] = _HEAD_EPOCHS if cached else recipe.train.passes
    if recipe.optim.lr is None:
        changes["lr"] = recipe.optim.peak
        if head_only and recipe.optim.optimizer != "sgd":
            batch = recipe.train.batch_size * recipe.optim.accumulate * processes
            steps = recipe.replace(**changes).train.passes * -(-pictures // batch)
            low, high = _HEAD_RATES
            changes["lr"] = float(f"{min(high, max(low, _HEAD_REACH / steps)):.2g}")
    return recipe.replace(**changes) if changes else recipe
