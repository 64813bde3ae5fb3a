"""Settings that were left open, settled once the network and the data are known; the recipe on disk says them all."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.recipe import Recipe
from clearsight.models.freeze import freeze
from clearsight.models.network import Network
from clearsight.workflow.prepare.cacheable import HEAD_EPOCHS, uncacheable

_HEAD_REACH = 0.6  # lr x steps
_HEAD_RATES = (1e-3, 5e-3)


def resolve_defaults(recipe: Recipe, network: Network, images: int, processes: int = 1) -> Recipe:
    """The recipe with `epochs`, `lr` and `head_lr` filled in where nothing was said; images: of the train split.

    Adam moves a weight by about the rate in each step, whatever the gradient's size, so a run can carry it no further
    than rate x steps (half of that under a cosine). A new head starts near zero and has to grow: with few steps at
    0.001 it stops half-way, and the rate is raised so that rate x steps is about 0.6.
    Source of the bound: Kingma & Ba 2015, "Adam", section 2.1.
    """
    head_only = freeze(network, recipe.model.freeze).cut == len(network.stages)
    changes: dict[str, object] = {}
    batch = recipe.train.batch_size * recipe.optim.accumulate * processes
    steps = -(-images // batch)  # of an epoch
    if recipe.train.epochs is None:
        cached = head_only and not uncacheable(recipe, len(network.stages))
        changes["epochs"] = HEAD_EPOCHS if cached else recipe.train.passes
    if recipe.optim.lr is None:
        changes["lr"] = recipe.optim.peak
        if head_only:
            changes["lr"] = _head_rate(recipe, recipe.replace(**changes).train.passes * steps)
    if recipe.optim.head_lr is None and recipe.train.head_epochs and not head_only:
        said = recipe.optim.lr is not None
        changes["head_lr"] = recipe.optim.lr if said else _head_rate(recipe, recipe.train.head_epochs * steps)
    return recipe.replace(**changes) if changes else recipe


def _head_rate(recipe: Recipe, steps: int) -> float:
    """The peak rate for a new head that has so many steps."""
    if recipe.optim.optimizer == "sgd":
        return recipe.optim.peak
    low, high = _HEAD_RATES
    return float(f"{min(high, max(low, _HEAD_REACH / steps)):.2g}")


def weights_path(text: str) -> str:
    """A weights setting as it should be kept in a recipe: a file by its absolute path, a word as it is."""
    return text if text in ("default", "none") else str(Path(text).expanduser().resolve())
