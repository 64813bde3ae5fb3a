"""Defaults of a recipe that depend on the network or the data; the recipe on disk has them filled in.

Without torch at import: a study asks for the epochs of its trials before it starts its workers, which load torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearsight.core.learning_rates import rounded_head_rate
from clearsight.core.preprocess import PRESETS
from clearsight.core.recipe import Recipe
from clearsight.models.weights_file import NOT_A_FILE

if TYPE_CHECKING:
    from clearsight.models.network import Network

# Default for a head on cached features, where an epoch costs milliseconds and the usual number of epochs is too few
# for a new layer to converge.
HEAD_EPOCHS = 30
SHORT_EPOCHS = 3  # of a whole network: a schedule that ends at 0 wastes too large a part of them


def resolve_defaults(recipe: Recipe, network: Network, images: int, processes: int = 1) -> Recipe:
    """Return the recipe with everything filled in that follows from what is trained. images: of the train split.

    A head that is trained alone gets the rate of `core.learning_rates.head_rate`. What `--freeze auto` comes to is
    chosen before (`prepare.auto_freeze`).
    """
    from clearsight.models.freeze import freeze  # loads torch, which the process that leads a study does not need

    head_only = freeze(network, recipe.model.resolved_freeze).cut == len(network.stages)
    steps, train = steps_per_epoch(recipe, images, processes), recipe.train
    changes: dict[str, object] = {
        "freeze": recipe.model.resolved_freeze,
        "augment": recipe.data.resolved_augment,
        "head_epochs": train.resolved_head_epochs,
        "head_augment": True if train.head_augment is None else train.head_augment,
        "second_phase": train.second_phase or "always",
        "reset_head": bool(train.reset_head),
        "second_batch_size": train.second_batch_size or train.batch_size,
    }
    if train.epochs is None:
        cached = head_only and not uncacheable(recipe, len(network.stages))
        changes["epochs"] = HEAD_EPOCHS if cached else train.resolved_epochs
    if recipe.optim.schedule is None:
        changes["schedule"] = default_schedule(recipe.replace(**changes), head_only)
    if recipe.optim.lr is None:
        changes["lr"] = recipe.optim.resolved_lr
        if head_only:  # after the epochs, since the rate of a head depends on how many steps it has
            planned = recipe.replace(**changes).train.resolved_epochs
            changes["lr"] = rounded_head_rate(recipe.optim.optimizer, planned * steps)
    if recipe.optim.head_lr is None and train.resolved_head_epochs and not head_only:
        # A given lr is meant for the head phase too: whoever chose it has seen it train this data.
        is_given = recipe.optim.lr is not None
        head_steps = train.resolved_head_epochs * steps
        changes["head_lr"] = recipe.optim.lr if is_given else rounded_head_rate(recipe.optim.optimizer, head_steps)
    return recipe.replace(**changes)


def default_schedule(recipe: Recipe, head_only: bool) -> str:
    """Return the schedule of a recipe that names none.

    A cosine ends at 0: within two or three epochs of a whole network, half of the steps change almost nothing. Two
    epochs at 3e-4 on 612 images of intel-scenes: test accuracy 0.800 and 0.775 with a cosine, 0.858 and 0.871 with a
    constant rate (seeds 0 and 1).
    """
    whole = recipe.train.resolved_epochs - recipe.train.resolved_head_epochs
    return "constant" if not head_only and whole <= SHORT_EPOCHS else "cosine"


def steps_per_epoch(recipe: Recipe, images: int, processes: int = 1) -> int:
    """Return the optimizer steps of an epoch over so many images."""
    return -(-images // (recipe.train.batch_size * recipe.optim.accumulate * processes))  # -(-a // b) rounds up


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
    if PRESETS[recipe.data.resolved_augment].random and recipe.train.views == 1:
        return "augmentation changes the images; --views K keeps K augmented views of each"
    return ""


def planned_epochs(recipe: Recipe) -> int:
    """Return the epochs that a recipe comes to, as far as that is known without the network.

    A freeze by stage name may turn out to freeze the whole backbone; `resolve_defaults` then knows better.
    """
    # cut=1: every cut above 0 gives the same answer.
    if recipe.train.epochs is None and recipe.model.freeze == "backbone" and not uncacheable(recipe, cut=1):
        return HEAD_EPOCHS
    return recipe.train.resolved_epochs


def unset_fields(recipe: Recipe) -> frozenset[str]:
    """Return the fields of a recipe that are at their default."""
    defaults = Recipe().flat()
    return frozenset(name for name, value in recipe.flat().items() if value == defaults[name])


def weights_path(weights: str) -> str:
    """Return a weights setting with the path of a file made absolute; "default" and "none" stay as they are.

    A recipe on disk may be used again from another folder, where a relative path would name another file.
    """
    return weights if weights in NOT_A_FILE else str(Path(weights).expanduser().resolve())


def plain_settings(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe's fields as JSON values."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in recipe.flat().items()}
