"""Ear: listens, changes nothing, and stays behind when a model is copied."""

from __future__ import annotations

import copy
import pickle

import torch
from torch import nn

from clearsight.debugger.ear import Ear, deaf


def test_it_hears_and_its_answer_is_dropped() -> None:
    heard: list[tuple[object, ...]] = []

    def listen(*args: object) -> str:
        heard.append(args)
        return "another output"

    model = nn.Linear(2, 2)
    handle = model.register_forward_hook(Ear(listen))
    assert isinstance(model(torch.ones(1, 2)), torch.Tensor)
    assert len(heard) == 1
    handle.remove()


def test_copies_are_deaf() -> None:
    ear = Ear(lambda *args: 1 / 0)
    assert copy.deepcopy(ear) is deaf
    assert pickle.loads(pickle.dumps(ear)) is deaf
    assert deaf(1, two=2) is None  # type: ignore[func-returns-value]
