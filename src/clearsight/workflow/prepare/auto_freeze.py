"""Choice of what `--freeze auto` trains: by the weights, the number of images and the time that training takes here.

The choice is made once, before a run begins; the recipe on disk has the settings that it came to. Without torch at
import.

Pretrained weights train the head on cached features first, which costs one forward pass over the images. Few images
stop there. With more, the whole network follows as a second phase where the head alone leaves enough errors to learn
from (`prepare.second_phase`), as long as it does not take too long. It begins with a new head and the usual rate, like
`--freeze none`, and with light augmentation: images that the features do not fit gain from large changes, and a head
that has been trained to its end already holds them back (Ren et al. 2023, "How to Prepare Your Task Head for
Finetuning"). Its batches are half as large: few images make few steps in five epochs, and steps are what it lacks. The
best epoch of both phases becomes the model, one of the second only with a clear gain. benchmarks/default_recipe.py
measures the choice.

Whoever sets something of the second phase gets it in any case, after the head and at small rates with light
augmentation (linear probing, then fine-tuning: Kumar et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from clearsight.core.learning_rates import rounded_head_rate
from clearsight.core.recipe import Recipe
from clearsight.workflow.prepare.defaults import HEAD_EPOCHS, steps_per_epoch, uncacheable
from clearsight.workflow.prepare.second_phase import ENOUGH_ERRORS

WHOLE_EPOCHS = 5  # of the whole network, after its head
# On a CPU the whole network is trained only where that takes no longer: a person waits for it. A GPU is there for it.
# One core trains mobilenetv2 on 1,000 images in 3 minutes; beside another program the estimate is up to twice that.
CPU_SECONDS = 600.0
# Share of --time-limit that the second phase may be estimated to take; the rest is for loading, validation and error.
_TIME_SHARE = 0.7
FORWARD_SHARE = 1 / 3  # of a training step: the backward pass costs about twice the forward pass

# Fewer training images have fewer errors to learn from, whatever the head comes to.
FEW_IMAGES = ENOUGH_ERRORS
# Settings without an effect on a head that is trained alone, or that prevent its caching: they ask for more than that.
OF_BACKBONE = (
    *("head_epochs", "head_lr", "head_augment", "second_phase", "second_batch_size", "reset_head"),
    *("backbone_lr_factor", "augment", "mixup", "cutmix"),
)
_UNSET = Recipe().flat()


class FreezeReason(StrEnum):
    """Reason for what `--freeze auto` came to."""

    RANDOM_WEIGHTS = "random_weights"  # there is nothing to keep: the whole network is trained
    FINE_TUNE = "fine_tune"  # the head first, then the whole network
    IF_NEEDED = "if_needed"  # the head first, then the whole network where the head leaves enough errors
    FEW_IMAGES = "few_images"  # too few errors to learn from: the head alone
    TOO_SLOW = "too_slow"  # the whole network would take too long: the head alone
    ONE_EPOCH = "one_epoch"  # a single epoch is best spent on the head


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingCost:
    """Time that training takes on this machine, and what it depends on.

    step_seconds: of a training step of the whole network, per image.  train, valid: images of this process.
    """

    step_seconds: float
    train: int
    valid: int
    on_cpu: bool = True
    processes: int = 1

    def whole(self, epochs: int) -> float:
        """Return the seconds of so many epochs of the whole network, with validation."""
        return epochs * self.step_seconds * (self.train + FORWARD_SHARE * self.valid)

    def head(self) -> float:
        """Return the seconds of a head on cached features: one forward pass, as the epochs after it cost little."""
        return FORWARD_SHARE * self.step_seconds * (self.train + self.valid)


@dataclass(frozen=True, kw_only=True, slots=True)
class FreezeChoice:
    """A recipe whose `freeze` is not auto, why, and the estimated seconds of it and of the other choice.

    Nothing is estimated for random weights. limit: seconds that the whole network would have had to stay below.
    """

    recipe: Recipe
    reason: FreezeReason
    seconds: float = 0.0
    other_seconds: float = 0.0
    limit: float = math.inf


def choose_freeze(recipe: Recipe, measure: Callable[[], TrainingCost], *, has_head: bool = False) -> FreezeChoice:
    """Return what `--freeze auto` of the recipe comes to. Settings that are set stay as they are.

    measure: called once for pretrained weights.  has_head: True for weights that come with a head for these classes.
    """
    if not recipe.model.pretrained:
        return FreezeChoice(recipe=recipe.replace(freeze="none"), reason=FreezeReason.RANDOM_WEIGHTS)
    cost = measure()
    head_epochs, epochs = _epochs(recipe)
    head, whole, limit = cost.head(), cost.whole(epochs - head_epochs), _limit(recipe, cost)
    reason = None
    if recipe.train.head_epochs is None:  # whoever gives the epochs of the first phase wants a second one
        if head_epochs >= epochs:
            reason = FreezeReason.ONE_EPOCH
        elif cost.train * cost.processes < FEW_IMAGES and not names_backbone(recipe):
            reason = FreezeReason.FEW_IMAGES
        elif head + whole > limit:
            reason = FreezeReason.TOO_SLOW
    if reason is not None:
        chosen = recipe.replace(freeze="backbone")
        return FreezeChoice(recipe=chosen, reason=reason, seconds=head, other_seconds=head + whole, limit=limit)
    changes = _two_phases(recipe, head_epochs, epochs, cost)
    if has_head and "reset_head" in changes:  # it is not new to the images, and goes with the features
        changes["reset_head"] = False
    chosen = recipe.replace(**changes)
    reason = FreezeReason.IF_NEEDED if chosen.train.second_phase == "if_needed" else FreezeReason.FINE_TUNE
    return FreezeChoice(recipe=chosen, reason=reason, seconds=head + whole, other_seconds=head)


def _two_phases(recipe: Recipe, head_epochs: int, epochs: int, cost: TrainingCost) -> dict[str, object]:
    """Return the settings of both phases that are not set."""
    asked = names_backbone(recipe)  # somebody wants the second phase, or something of it
    changes: dict[str, object] = {"freeze": "none", "head_epochs": head_epochs, "epochs": epochs}
    changes["head_augment"] = bool(recipe.train.head_augment)
    if recipe.optim.head_lr is None:  # not the given lr, which is meant for the whole network
        steps = head_epochs * steps_per_epoch(recipe, cost.train * cost.processes, cost.processes)
        changes["head_lr"] = rounded_head_rate(recipe.optim.optimizer, steps)
    changes["augment"] = recipe.data.augment or "light"
    if asked:
        return changes
    changes |= {"backbone_lr_factor": 1.0, "second_phase": "if_needed", "reset_head": True}
    return {**changes, "second_batch_size": -(-recipe.train.batch_size // 2)}  # -(-a // b) rounds up


def names_backbone(recipe: Recipe) -> bool:
    """Return True if the recipe sets something that matters for more than the head alone."""
    found = recipe.flat()
    return any(found[name] != _UNSET[name] for name in OF_BACKBONE)


def _epochs(recipe: Recipe) -> tuple[int, int]:
    """Return the epochs of the first phase, and of both."""
    head, epochs = recipe.train.head_epochs, recipe.train.epochs
    if head is None:
        # An epoch without cached features costs a forward pass: one is what fine-tuning recipes usually spend.
        cached = not uncacheable(recipe.replace(augment="none"), cut=1) and not recipe.train.head_augment
        head = HEAD_EPOCHS if cached else 1
        if epochs is not None:  # the given epochs are shared: at least half of a few, and all but five of many
            head = min(head, max(-(-epochs // 2), epochs - WHOLE_EPOCHS))
    return head, epochs if epochs is not None else head + WHOLE_EPOCHS


def _limit(recipe: Recipe, cost: TrainingCost) -> float:
    """Return the seconds that both phases may take by estimate; infinity without a limit."""
    limits = [CPU_SECONDS] if cost.on_cpu else []
    if recipe.train.time_limit is not None:
        limits.append(_TIME_SHARE * recipe.train.time_limit)
    return min(limits, default=math.inf)
