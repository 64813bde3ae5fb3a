"""train_heads: heads that differ only in numbers, trained together in one process.

A head on cached features is so small that training it alone is nearly all overhead. Heads that see the same batches in
the same order become one matrix, and a step of all of them costs little more than a step of one. The results are those
of `training.loop` for each head alone, except for rounding: same batches, same first weights, same dropout, same
rates, same best epoch, same endings.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

import torch
from torch import nn

from clearsight.core.errors import BadShape, BadValue
from clearsight.core.recipe import Recipe
from clearsight.core.stop import StopReason
from clearsight.training.heads.group import HeadGroup
from clearsight.training.heads.job import HeadData, HeadProgress, HeadResult, OnEpoch, StackedHead, finish
from clearsight.training.heads.network import HeadLayer, layers_of
from clearsight.training.heads.rows import RowCache, odd_part

# Parameters of a head. Below this a step is bound by the number of calls, above it by the memory that they move.
_CALL_BOUND = 1 << 15

BuildHead = Callable[[Recipe], nn.Module]


def train_heads(
    heads: Sequence[StackedHead],
    data: HeadData,
    build_head: BuildHead,
    *,
    on_epoch: OnEpoch | None = None,
    interrupted: Callable[[], StopReason | None] = lambda: None,
) -> list[HeadResult]:
    """Train all heads on `data`; return their results in the order of `heads`.

    build_head: returns the untrained head of a recipe, on the CPU.
    on_epoch: called after each epoch of each head; a reason ends that head, but not after its last epoch.
    interrupted: asked before each epoch; a reason ends all heads at once.
    Raises BadValue for a recipe or a head that cannot be stacked, BadShape for features that are not (V, N, D).
    """
    if data.views.ndim != 3:
        raise BadShape("features", f"a stack takes (views, images, features), not {tuple(data.views.shape)}")
    progress = [HeadProgress(head) for head in heads]
    groups = _groups(progress, data, build_head)
    rows = RowCache(data)  # shared by all groups
    stop: StopReason | None = None
    with _one_thread():
        # All groups by the epoch, not one after the other: a pruner compares heads that have come equally far.
        for epoch in count(1):
            groups = [group for group in groups if group.heads]
            if not groups or (stop := interrupted()):
                break
            for group in groups:
                group.epoch(epoch, rows, on_epoch)
    return finish(progress, stop)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Within the block torch computes on one thread: in products this thin, a second one mostly waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _groups(heads: Sequence[HeadProgress], data: HeadData, build_head: BuildHead) -> list[HeadGroup]:
    """Group heads by what they must have in common to take their steps together."""
    members: dict[Hashable, tuple[list[HeadProgress], list[nn.Module]]] = {}
    for head in heads:
        recipe = head.recipe
        _check(recipe)
        module = build_head(recipe)
        layers = layers_of(module)
        if not layers:
            raise BadValue("head", f"a stack takes linear layers with ReLU and dropout between, not {module}")
        shape = tuple(layer.shape for layer in layers)
        key = (_batch_key(recipe.train.batch_size, layers), recipe.train.seed, recipe.optim.optimizer, shape)
        group, modules = members.setdefault(key, ([], []))
        group.append(head)
        modules.append(module)
    # By seed, so that groups which see the same rows run one after the other and gather them once.
    by_seed = sorted(members.values(), key=lambda member: member[0][0].recipe.train.seed)
    return [HeadGroup(group, modules, data) for group, modules in by_seed]


def _batch_key(batch_size: int, layers: Sequence[HeadLayer]) -> int:
    """Return a number that is equal for batch sizes whose heads go through an epoch faster together.

    Small heads are bound by the number of calls, and all sizes that are powers of two apart need no more calls than the
    smallest one. Large heads are bound by memory: a piece of the smallest batch would drag the weights of all of them
    through the cache. And dropout draws other numbers for a batch than for two halves of it.
    """
    parameters = sum((layer.inputs + 1) * layer.outputs for layer in layers)
    if parameters > _CALL_BOUND or any(layer.rate for layer in layers):
        return batch_size
    return odd_part(batch_size)


def _check(recipe: Recipe) -> None:
    """Raise BadValue for settings that only the loop supports."""
    train, optim = recipe.train, recipe.optim
    unsupported = {
        f"ema {train.ema}": train.ema > 0,
        f"mixup {train.mixup}": train.mixup > 0,
        f"cutmix {train.cutmix}": train.cutmix > 0,
        f"precision {train.precision}": train.precision in ("bf16", "fp16"),
        f"clip_grad {optim.clip_grad}": optim.clip_grad is not None,
        f"accumulate {optim.accumulate}": optim.accumulate > 1,
    }
    for setting, is_set in unsupported.items():  # the first one: its fix is the same for all
        if is_set:
            raise BadValue(setting, "heads that train together do not support it", fix="Train this head alone.")
