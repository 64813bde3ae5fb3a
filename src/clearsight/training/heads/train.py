"""Heads that differ only in numbers, trained together in one process.

A head on cached features is so small that training it alone is nearly all overhead. Heads that see the same batches in
the same order become one matrix, and a step of all of them costs little more than a step of one. What comes out is what
`training.loop` gives for each of them alone, but for rounding: same batches, same first weights, same dropout, same
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
from clearsight.training.heads.batch_schedule import odd_part
from clearsight.training.heads.group import Group, finish
from clearsight.training.heads.job import HeadData, HeadResult, OnEpoch, StackedHead
from clearsight.training.heads.network import HeadLayer, layers_of
from clearsight.training.heads.progress import HeadProgress
from clearsight.training.heads.rows import RowCache

_SMALL = 1 << 15  # parameters of a head

BuildHead = Callable[[Recipe], nn.Module]


def _nobody() -> str:
    return ""


def train_heads(
    heads: Sequence[StackedHead],
    data: HeadData,
    build_head: BuildHead,
    *,
    on_epoch: OnEpoch | None = None,
    interrupted: Callable[[], str] = _nobody,
) -> list[HeadResult]:
    """Train all heads on `data`; returns their results in the order of `heads`.

    build_head: the untrained head of a recipe, on the CPU.  on_epoch: told of each epoch of
    each head; a reason ends that head, but not after its last epoch.
    interrupted: asked before each epoch; a reason ends all heads at once.
    Raises BadValue for a recipe or a head that cannot be stacked, BadShape for features that are no (V, N, D).
    """
    if data.views.ndim != 3:
        raise BadShape("features", f"a stack takes (views, images, features), not {tuple(data.views.shape)}")
    courses = [HeadProgress(head) for head in heads]
    groups = _groups(courses, data, build_head)
    rows, reason = RowCache(data), ""
    with _one_thread():
        # All groups by the epoch, not one after the other: a pruner compares heads that have come equally far.
        for epoch in count(1):
            groups = [group for group in groups if group.courses]
            if not groups or (reason := interrupted()):
                break
            for group in groups:
                group.epoch(epoch, rows, on_epoch)
    return finish(courses, reason)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Within the block torch computes on one thread: of products so thin a second one only waits for its share."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _groups(courses: Sequence[HeadProgress], data: HeadData, build_head: BuildHead) -> list[Group]:
    """Courses by what heads must have in common to take their steps together."""
    members: dict[Hashable, tuple[list[HeadProgress], list[nn.Module]]] = {}
    for course in courses:
        recipe = course.recipe
        _check(recipe)
        module = build_head(recipe)
        layers = layers_of(module)
        if not layers:
            raise BadValue("head", f"a stack takes linear layers with ReLU and dropout between, not {module}")
        shape = tuple(layer.shape for layer in layers)
        key = (_pace(recipe.train.batch_size, layers), recipe.train.seed, recipe.optim.optimizer, shape)
        theirs, modules = members.setdefault(key, ([], []))
        theirs.append(course)
        modules.append(module)
    by_seed = sorted(members.values(), key=lambda member: member[0][0].recipe.train.seed)  # they share their rows
    return [Group(theirs, modules, data) for theirs, modules in by_seed]


def _pace(batch_size: int, layers: Sequence[HeadLayer]) -> int:
    """Equal for batch sizes whose heads can go through an epoch together, with profit.

    Small heads cost calls, and all sizes that are powers of two apart need no more of them than the smallest. Large
    ones cost numbers: a piece of the smallest batch would drag the weights of all of them through the cache. And what
    dropout draws for a batch it does not draw for two halves of it.
    """
    parameters = sum((layer.inputs + 1) * layer.outputs for layer in layers)
    if parameters > _SMALL or any(layer.rate for layer in layers):
        return batch_size
    return odd_part(batch_size)


def _check(recipe: Recipe) -> None:
    """Raise BadValue for what only the loop can do."""
    train, optim = recipe.train, recipe.optim
    wrong = {
        f"ema {train.ema}": train.ema > 0,
        f"mixup {train.mixup}": train.mixup > 0,
        f"cutmix {train.cutmix}": train.cutmix > 0,
        f"precision {train.precision}": train.precision in ("bf16", "fp16"),
        f"clip_grad {optim.clip_grad}": optim.clip_grad is not None,
        f"accumulate {optim.accumulate}": optim.accumulate > 1,
    }
    for what, is_wrong in wrong.items():
        if is_wrong:
            raise BadValue(what, "heads that train together cannot have it", fix="Train this head alone.")
