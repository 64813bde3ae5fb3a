"""Hooks on PyTorch that turn the calls of a training script into events, so that the script need not be changed.

Modules are hooked at `nn.Module.__call__`; only the outermost call is an event, and inner ones cost one comparison
each. Optimizers are hooked by PyTorch's own global hooks; backward passes, batches, checkpoints and transfers at the
one function that each of them goes through.
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

from clearsight.profiler.external.load_timer import LoadTimer
from clearsight.profiler.external.loop_inspection import BatchInfo
from clearsight.profiler.external.loop_state import LoopState
from clearsight.profiler.external.loop_tracker import LoopTracker
from clearsight.profiler.external.patches import Patches

Function = Callable[..., Any]


def listen(tracker: LoopTracker, load_timer: LoadTimer, patches: Patches) -> None:
    """Send events to `tracker` and `load_timer` until `patches` are undone."""
    patches.replace(nn.Module, "__call__", lambda call: _module_call(call, tracker))
    patches.replace(torch.autograd, "backward", lambda backward: _backward(backward, tracker))
    patches.replace(_BaseDataLoaderIter, "__next__", lambda following: _next_batch(following, tracker))
    patches.replace(torch, "save", lambda save: _save(save, tracker))
    for fetcher in (_MapDatasetFetcher, _IterableDatasetFetcher):
        patches.replace(fetcher, "fetch", lambda fetch: _fetch(fetch, tracker, load_timer))
    before = register_optimizer_step_pre_hook(lambda optimizer, *_: _nothing(tracker.begin_update(optimizer)))
    after = register_optimizer_step_post_hook(lambda optimizer, *_: tracker.end_update(optimizer))
    patches.when_undone(before.remove)
    patches.when_undone(after.remove)


def listen_to_transfers(tracker: LoopTracker, patches: Patches) -> None:
    """Send `tracker` events of tensors that go to another device, until `patches` are undone.

    Only useful where there is another device: `Tensor.to` is called often.
    """
    for name in ("to", "cuda", "cpu"):
        patches.replace(Tensor, name, lambda move: _move(move, tracker))


def _nothing(_: object) -> None:
    """Return None: another result of an optimizer's hook would replace the arguments of its step."""


def _module_call(call: Function, tracker: LoopTracker) -> Function:
    compiling, idle = torch.compiler.is_compiling, LoopState.IDLE

    @functools.wraps(call)
    def outermost(module: nn.Module, /, *args: Any, **kwargs: Any) -> Any:
        # `compiling()` comes first: it is all that torch.compile sees of this function when it traces a module.
        if compiling() or tracker.state is not idle or tracker.silent or not tracker.begin_call(module, args):
            return call(module, *args, **kwargs)
        try:
            return call(module, *args, **kwargs)
        finally:
            tracker.end_call()

    return outermost


def _backward(backward: Function, tracker: LoopTracker) -> Function:
    @functools.wraps(backward)
    def outermost(*args: Any, **kwargs: Any) -> Any:
        if not tracker.begin_backward():
            return backward(*args, **kwargs)
        try:
            return backward(*args, **kwargs)
        finally:
            tracker.end_backward()

    return outermost


def _next_batch(following: Function, tracker: LoopTracker) -> Function:
    @functools.wraps(following)
    def waiting(iterator: Any) -> Any:
        if not tracker.begin_wait():
            return following(iterator)
        describe = None  # stays so after StopIteration, at the end of an epoch, and after any other error
        try:
            batch = following(iterator)
            describe = functools.partial(BatchInfo.of, batch, iterator)
        finally:
            tracker.end_wait(describe)
        return batch

    return waiting


def _fetch(fetch: Function, tracker: LoopTracker, load_timer: LoadTimer) -> Function:
    """Return `fetch`, which makes one batch in the process that loads, with its parts timed."""

    @functools.wraps(fetch)
    def fetching(fetcher: Any, index: Any) -> Any:
        if not tracker.silent and get_worker_info() is not None:
            tracker.silent = True  # a loader worker does not train, and its files are those of the process that does
        if not load_timer.begin():
            return fetch(fetcher, index)
        # On the fetcher, not on the function: a script may use one collate function in several places.
        collate = fetcher.collate_fn
        fetcher.collate_fn = load_timer.timed("collate", collate)
        try:
            return fetch(fetcher, index)
        finally:
            fetcher.collate_fn = collate
            load_timer.end(len(index) if isinstance(index, list | tuple) else 1)

    return fetching


def _save(save: Function, tracker: LoopTracker) -> Function:
    @functools.wraps(save)
    def saving(*args: Any, **kwargs: Any) -> Any:
        target = kwargs.get("f", args[1] if len(args) > 1 else None)
        # A target in memory is no checkpoint: tensors are pickled so for a copy or for another process.
        if isinstance(target, io.BytesIO) or not tracker.begin_saving():
            return save(*args, **kwargs)
        try:
            return save(*args, **kwargs)
        finally:
            tracker.end_saving()

    return saving


def _move(move: Function, tracker: LoopTracker) -> Function:
    fixed = {"cuda": "cuda", "cpu": "cpu"}.get(move.__name__)

    @functools.wraps(move)
    def moving(tensor: Tensor, /, *args: Any, **kwargs: Any) -> Any:
        target = fixed or _device_type(kwargs.get("device", args[0] if args else None))
        # Most calls of `to` change the dtype alone, or move nothing.
        if not target or target == tensor.device.type or torch.compiler.is_compiling() or not tracker.begin_transfer():
            return move(tensor, *args, **kwargs)
        try:
            return move(tensor, *args, **kwargs)
        finally:
            tracker.end_transfer()

    return moving


def _device_type(target: Any) -> str:
    """Return the kind of device that an argument of `Tensor.to` names; "" for a dtype or none."""
    if isinstance(target, Tensor):
        return target.device.type
    if isinstance(target, str):
        return target.partition(":")[0]
    if isinstance(target, torch.device):
        return target.type
    return "cuda" if isinstance(target, int) and not isinstance(target, bool) else ""
