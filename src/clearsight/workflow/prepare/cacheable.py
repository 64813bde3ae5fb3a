"""Cacheability: if the frozen part of a network can be computed once, and how many epochs the head then gets.

Answered from the recipe alone and without torch: a study asks it before it starts its workers, which load torch.
"""

from __future__ import annotations

from clearsight.core.preprocess import PRESETS
from clearsight.core.recipe import Recipe

# Default for a head on cached features, where an epoch costs milliseconds and the usual number of epochs is too few
# for a new layer to converge.
HEAD_EPOCHS = 30


def uncacheable(recipe: Recipe, cut: int) -> str:
    """Return why the output of the first `cut` stages cannot be computed once; "" if it can."""
    if not recipe.train.feature_cache:
        return "switched off"
    if not cut:
        return "nothing is frozen"
    # Mixing draws new partners and shares in every step, so that no image passes the frozen part twice.
    if recipe.train.mixup or recipe.train.cutmix:
        return "mixup and cutmix change the images before the frozen part"
    # Random augmentation makes new images in every epoch. Several fixed views of each are a compromise, but it changes
    # what is learned, so nobody gets it unasked.
    if PRESETS[recipe.data.augment].random and recipe.train.views == 1:
        return "augmentation changes the images; --views K keeps K augmented views of each"
    return ""


def planned_epochs(recipe: Recipe) -> int:
    """Return the epochs that a recipe comes to, as far as that is known without the network.

    A freeze by stage name may turn out to freeze the whole backbone; `defaults.resolve_defaults` then knows better.
    """
    # cut=1: every cut above 0 gives the same answer.
    if recipe.train.epochs is None and recipe.model.freeze == "backbone" and not uncacheable(recipe, cut=1):
        return HEAD_EPOCHS
    return recipe.train.resolved_epochs
