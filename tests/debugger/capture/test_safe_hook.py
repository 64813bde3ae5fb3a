"""Ear: listens, changes nothing, and stays behind when a model is copied."""

from __future__ import annotations

import copy
import pickle

import torch
from torch import nn

from clearsight.debugger.capture.safe_hook import SafeHook, do_nothing


def test_it_hears_and_its_answer_is_dropped() -> None:
    heard: list[tuple[object, ...]] = []

    def listen(*args: object) -> str:
        heard.append(args)
        return "another output"

    model = nn.Linear(2, 2)
    handle = model.register_forward_hook(SafeHook(listen))
    assert isinstance(model(torch.ones(1, 2)), torch.Tensor)
    assert len(heard) == 1
    handle.remove()


def test_copies_are_deaf() -> None:
    ear = SafeHook(lambda *args: 1 / 0)
    assert copy.deepcopy(ear) is do_nothing
    assert pickle.loads(pickle.dumps(ear)) is do_nothing
    assert do_nothing(1, two=2) is None  # type: ignore[func-returns-value]
