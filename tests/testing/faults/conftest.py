"""The smallest setup that learns: a small convolutional network on scikit-learn's digits, under a second."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from clearsight.testing.faults.catalogue import base
from clearsight.testing.faults.setup import FaultSetup


@pytest.fixture
def setup() -> FaultSetup:
    return replace(base(("plain_cnn", "digits"), 0), train_size=160, valid_size=80).changed(epochs=4)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
