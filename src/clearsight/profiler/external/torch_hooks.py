"""Torch events: where PyTorch is listened to, so that a script need not be changed.

Modules by `nn.Module.__call__`, of which the outermost call counts: inner ones cost one comparison each. Optimizers by
PyTorch's own global hooks; backward passes, batches, checkpoints and transfers by their one function.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data import get_worker_info
from torch.utils.data._utils.fetch import _IterableDatasetFetcher, _MapDatasetFetcher
from torch.utils.data.dataloader import _BaseDataLoaderIter

from clearsight.profiler.external.batch import BatchInfo
from clearsight.profiler.external.load_timer import LoadTimer
from clearsight.profiler.external.loop_tracker import LoopTracker
from clearsight.profiler.external.patches import Patches

Function = Callable[..., Any]


def listen(course: LoopTracker, reader: LoadTimer, patches: Patches) -> None:
    """Tell `course` and `reader` what goes on, until `patches` are undone."""
    patches.replace(nn.Module, "__call__", lambda call: _calls(call, course))
    patches.replace(torch.autograd, "backward", lambda backward: _backward(backward, course))
    patches.replace(_BaseDataLoaderIter, "__next__", lambda following: _batches(following, course))
    patches.replace(torch, "save", lambda save: _saving(save, course))
    for fetcher in (_MapDatasetFetcher, _IterableDatasetFetcher):
        patches.replace(fetcher, "fetch", lambda fetch: _fetching(fetch, course, reader))
    before = register_optimizer_step_pre_hook(lambda optimizer, *_: _nothing(course.begins_update(optimizer)))
    after = register_optimizer_step_post_hook(lambda optimizer, *_: _nothing(course.ends_update(optimizer)))
    patches.when_undone(before.remove)
    patches.when_undone(after.remove)


def listen_to_transfers(course: LoopTracker, patches: Patches) -> None:
    """Tell `course` too of tensors that go to another device; for where there is one."""
    for name in ("to", "cuda", "cpu"):
        patches.replace(Tensor, name, lambda move: _moving(move, course))


def _nothing(_: object) -> None:
    """What an optimizer's hook has to answer, so that nothing changes."""


def _calls(call: Function, course: LoopTracker) -> Function:
    compiling = torch.compiler.is_compiling

    @functools.wraps(call)
    def outermost(module: nn.Module, /, *args: Any, **kwargs: Any) -> Any:
        # While torch.compile traces a module the first test is all that it sees.
        if compiling() or course.inside or course.silent or not course.begins_call(module, args):
            return call(module, *args, **kwargs)
        try:
            return call(module, *args, **kwargs)
        finally:
            course.ends_call()

    return outermost


def _backward(backward: Function, course: LoopTracker) -> Function:
    @functools.wraps(backward)
    def outermost(*args: Any, **kwargs: Any) -> Any:
        if not course.begins_backward():
            return backward(*args, **kwargs)
        try:
            return backward(*args, **kwargs)
        finally:
            course.ends_backward()

    return outermost


def _batches(following: Function, course: LoopTracker) -> Function:
    @functools.wraps(following)
    def waited(iterator: Any) -> Any:
        if not course.begins_wait():
            return following(iterator)
        try:
            batch = following(iterator)
        except BaseException:  # mostly StopIteration
            course.ends_wait(None)
            raise
        course.ends_wait(functools.partial(BatchInfo.of, batch, iterator))
        return batch

    return waited


def _fetching(fetch: Function, course: LoopTracker, reader: LoadTimer) -> Function:
    """Makes one batch, in the process that reads."""

    @functools.wraps(fetch)
    def fetching(fetcher: Any, index: Any) -> Any:
        if not course.silent and get_worker_info() is not None:
            course.silent = True  # a process that reads does not train
        if not reader.begin():
            return fetch(fetcher, index)
        collate = fetcher.collate_fn
        fetcher.collate_fn = reader.timed("collate", collate)
        try:
            return fetch(fetcher, index)
        finally:
            fetcher.collate_fn = collate
            reader.end(len(index) if isinstance(index, list | tuple) else 1)

    return fetching


def _saving(save: Function, course: LoopTracker) -> Function:
    @functools.wraps(save)
    def saving(*args: Any, **kwargs: Any) -> Any:
        place = kwargs.get("f", args[1] if len(args) > 1 else None)
        # Into memory is how a tensor is pickled, for a copy or for another process.
        if isinstance(place, io.BytesIO) or not course.begins_saving():
            return save(*args, **kwargs)
        try:
            return save(*args, **kwargs)
        finally:
            course.ends_saving()

    return saving


def _moving(move: Function, course: LoopTracker) -> Function:
    there = {"cuda": "cuda", "cpu": "cpu"}.get(move.__name__)

    @functools.wraps(move)
    def moving(tensor: Tensor, /, *args: Any, **kwargs: Any) -> Any:
        target = there or _device_type(kwargs.get("device", args[0] if args else None))
        if not target or target == tensor.device.type or torch.compiler.is_compiling() or not course.begins_transfer():
            return move(tensor, *args, **kwargs)
        try:
            return move(tensor, *args, **kwargs)
        finally:
            course.ends_transfer()

    return moving


def _device_type(target: Any) -> str:
    """The kind of device that an argument of `Tensor.to` means; "" where it means none."""
    if isinstance(target, Tensor):
        return target.device.type
    if isinstance(target, str):
        return target.partition(":")[0]
    if isinstance(target, torch.device):
        return target.type
    return "cuda" if isinstance(target, int) and not isinstance(target, bool) else ""
