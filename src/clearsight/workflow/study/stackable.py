"""Which trials train together: heads over the same frozen network that differ in numbers alone. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Sequence

from clearsight.core.recipe import Recipe
from clearsight.core.trial import SCORES
from clearsight.workflow.prepare.cacheable import uncacheable

# What may differ between the heads of one stack.
NUMBERS = (
    *("lr", "weight_decay", "eps", "momentum", "optimizer", "warmup", "schedule", "step_size", "gamma"),
    *("batch_size", "epochs", "seed", "label_smoothing", "class_weights", "patience", "dropout", "head"),
)
_SAME_FOR_ALL = (*SCORES, "parameters")  # objectives that mean the same for a head in a stack and for one alone


def stack_key(recipe: Recipe, metrics: Sequence[str]) -> str | None:
    """Equal for recipes whose heads may train together; None for one that must train alone.

    metrics: the objectives. How long a head took cannot be told of one that trained among others.
    """
    debug, train = recipe.debug, recipe.train
    alone = (
        recipe.model.freeze != "backbone"
        or uncacheable(recipe, cut=1)
        or train.ema
        or train.time_limit
        or train.precision not in ("auto", "fp32")
        or recipe.optim.clip_grad is not None
        or recipe.optim.accumulate != 1
        or any(metric not in _SAME_FOR_ALL for metric in metrics)
        # What looks into single runs needs single runs.
        or (debug.save or debug.rule or debug.on_finding or debug.save_every)
    )
    if alone:
        return None
    kept = {name: value for name, value in recipe.model_dump(mode="json").items() if name not in ("debug", "profile")}
    return json.dumps([{k: v for k, v in section.items() if k not in NUMBERS} for section in kept.values()])


def can_stack(base: Recipe, names: Sequence[str], metrics: Sequence[str]) -> bool:
    """Whether all trials of a study that varies the fields `names` may train together."""
    return stack_key(base, metrics) is not None and all(name in NUMBERS for name in names)
