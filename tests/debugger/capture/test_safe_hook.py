"""SafeHook: changes nothing, and stays behind when a model is copied. HookGroup: removed as one."""

from __future__ import annotations

import copy
import pickle

import torch
from torch import nn

from clearsight.debugger.capture.safe_hook import HookGroup, SafeHook, do_nothing


def test_the_result_of_the_listener_is_dropped() -> None:
    calls: list[tuple[object, ...]] = []

    def listen(*args: object) -> str:
        calls.append(args)
        return "another output"

    model = nn.Linear(2, 2)
    handle = model.register_forward_hook(SafeHook(listen))
    assert isinstance(model(torch.ones(1, 2)), torch.Tensor)
    assert len(calls) == 1
    handle.remove()


def test_a_copy_does_nothing() -> None:
    hook = SafeHook(lambda *args: 1 / 0)
    assert copy.deepcopy(hook) is do_nothing
    assert pickle.loads(pickle.dumps(hook)) is do_nothing
    assert do_nothing(1, two=2) is None  # type: ignore[func-returns-value]


def test_a_group_is_removed_together_and_may_be_used_again() -> None:
    calls: list[str] = []
    model, hooks = nn.Linear(2, 2), HookGroup()
    for _ in range(2):
        hooks.attach(
            model.register_forward_pre_hook, lambda module, args, kwargs: calls.append("before"), with_kwargs=True
        )
        hooks.attach(model.register_forward_hook, lambda module, args, output: calls.append("after"))
        model(torch.ones(1, 2))
        hooks.remove()
        hooks.remove()
        model(torch.ones(1, 2))
    assert calls == ["before", "after"] * 2
