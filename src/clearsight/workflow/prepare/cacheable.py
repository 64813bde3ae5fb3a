"""Whether what is frozen can be computed once; asked of a recipe alone, so that it costs no import of torch."""

from __future__ import annotations

from clearsight.core.preprocess import PRESETS
from clearsight.core.recipe import Recipe


def uncacheable(recipe: Recipe, cut: int) -> str:
    """Why the frozen part cannot be computed once, or ""."""
    if not recipe.train.feature_cache:
        return "switched off"
    if not cut:
        return "nothing is frozen"
    if recipe.train.mixup or recipe.train.cutmix:
        return "mixup and cutmix change the images before the frozen part"
    if PRESETS[recipe.data.augment].random and recipe.train.views == 1:
        return "augmentation changes the images; --views K keeps K augmented views of each"
    return ""


HEAD_EPOCHS = 30  # of a head on cached features, where an epoch costs milliseconds and nobody said how many


def planned_epochs(recipe: Recipe) -> int:
    """The epochs that a recipe comes to, as far as it tells by itself (a freeze by name may turn out to be all)."""
    if recipe.train.epochs is None and recipe.model.freeze == "backbone" and not uncacheable(recipe, cut=1):
        return HEAD_EPOCHS
    return recipe.train.passes
