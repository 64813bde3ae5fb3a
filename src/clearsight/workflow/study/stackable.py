"""Trials that can train together: heads over the same frozen network that differ in numbers alone. Without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence

from clearsight.core.recipe import Recipe
from clearsight.core.trial import SCORES
from clearsight.workflow.prepare.cacheable import uncacheable

# Settings in which the heads of one stack may differ.
NUMBERS = (
    *("lr", "weight_decay", "eps", "momentum", "optimizer", "warmup", "schedule", "step_size", "gamma"),
    *("batch_size", "epochs", "seed", "label_smoothing", "class_weights", "patience", "dropout", "head"),
)
# Objectives with the same value for a head in a stack and for one alone. Times are not: a stack shares its time.
_SAME_IN_STACK = (*SCORES, "parameters")


def stack_key(recipe: Recipe, metrics: Sequence[str]) -> str | None:
    """Return a key that is equal for recipes whose heads can train together; None for one that must train alone.

    metrics: of the objectives.
    """
    debug, train = recipe.debug, recipe.train
    must_train_alone = (
        recipe.model.freeze != "backbone"
        or uncacheable(recipe, cut=1)
        or train.ema
        or train.time_limit
        or train.precision not in ("auto", "fp32")
        or recipe.optim.clip_grad is not None
        or recipe.optim.accumulate != 1
        or any(metric not in _SAME_IN_STACK for metric in metrics)
        # The debugger saves and judges single runs, and a stack has none.
        or (debug.save or debug.rule or debug.on_finding or debug.save_every)
    )
    if must_train_alone:
        return None
    # Debugger and profiler decide nothing about the result.
    sections = [section for name, section in recipe.model_dump(mode="json").items() if name not in ("debug", "profile")]
    return json.dumps([{k: v for k, v in section.items() if k not in NUMBERS} for section in sections])


def can_stack(base: Recipe, names: Sequence[str], metrics: Sequence[str]) -> bool:
    """Return True if all trials of a study that varies the settings `names` can train together."""
    return stack_key(base, metrics) is not None and all(name in NUMBERS for name in names)
