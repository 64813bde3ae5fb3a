"""loop_inspection: facts about a batch, and the settings of a loop that its model and its batches show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from clearsight.core.profile import Machine
from clearsight.profiler.external.loop_inspection import (
    BatchInfo,
    current_machine,
    current_rank,
    machine_of_batch,
    machine_of_pass,
)


def test_a_pass_shows_device_precision_and_layout() -> None:
    model, images = nn.Conv2d(3, 4, 1), torch.zeros(2, 3, 8, 8)
    machine = machine_of_pass(Machine(gpus=3, name="a GPU"), model, (images,))
    assert (machine.device, machine.gpus, machine.name, machine.precision, machine.channels_last) == (
        "cpu",
        0,
        "",
        "fp32",
        False,
    )
    assert machine.threads == torch.get_num_threads()
    with torch.autocast("cpu", torch.bfloat16):
        machine = machine_of_pass(Machine(), model, (images.to(memory_format=torch.channels_last),))
    assert (machine.precision, machine.channels_last) == ("bf16", True)


def test_inputs_that_are_no_images_have_no_layout() -> None:
    assert machine_of_pass(Machine(), nn.Linear(2, 2, dtype=torch.float64), (torch.zeros(1, 2),)).channels_last is None
    assert machine_of_pass(Machine(), nn.Linear(2, 2, dtype=torch.float64), ()).precision == "float64"


def test_a_batch_shows_its_workers() -> None:
    batch = BatchInfo(size=8, bytes=800, first=False, workers=2, prefetch=3, images=None)
    machine = machine_of_batch(Machine(batch_size=16), batch)
    assert (machine.workers, machine.reading, machine.prefetch) == (2, "processes", 3)
    assert (machine.batch_size, machine.batch_bytes) == (16, 800)  # the last batch of an epoch is smaller
    assert machine_of_batch(Machine(), BatchInfo(8, 800, False, 0, 0, None)).reading == "here"
    assert machine_of_batch(Machine(), None) == Machine()


def test_machine_of_this_process() -> None:
    machine = current_machine()
    assert machine.cores >= 1
    assert machine.threads == torch.get_num_threads()
    assert machine.device == ("cuda" if torch.cuda.is_initialized() else "cpu")  # type: ignore[no-untyped-call]
    assert current_rank() == 0


# Batches


def test_a_batch_of_images_and_labels() -> None:
    loader = iter(DataLoader(TensorDataset(torch.zeros(6, 3, 4, 4), torch.zeros(6)), batch_size=4))
    first = BatchInfo.of(next(loader), loader)
    assert (first.size, first.bytes, first.first, first.workers, first.prefetch) == (4, 4 * (48 + 1) * 4, True, 0, 0)
    assert first.images is not None
    assert first.images.shape == (4, 3, 4, 4)
    second = BatchInfo.of(next(loader), loader)
    assert (second.size, second.first) == (2, False)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"image": torch.zeros(5, 2), "label": torch.zeros(5)}, 5),
        ([torch.tensor(1.0), (torch.zeros(3, 2),)], 3),
        ("nothing", 0),
        ([], 0),
        (torch.zeros(0, 3), 0),
    ],
)
def test_batches_of_other_shapes(value: object, size: int) -> None:
    assert BatchInfo.of(value, object()).size == size


@pytest.mark.parametrize(
    "tensor", [torch.zeros(2, 1, 4, 4), torch.zeros(2, 3, 4, 4, dtype=torch.bfloat16), torch.zeros(2, 3)]
)
def test_tensors_that_are_no_images(tensor: torch.Tensor) -> None:
    assert BatchInfo.of(tensor, object()).images is None


def test_images_are_not_copied() -> None:
    tensor = torch.zeros(2, 3, 4, 4)
    images = BatchInfo.of(tensor, object()).images
    assert images is not None
    assert np.shares_memory(images, tensor.numpy())
