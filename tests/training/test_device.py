"""Placement follows from the recipe and the machine; an impossible one is refused in one sentence."""

import pytest
import torch

from clearsight.core.errors import BadValue
from clearsight.core.machine import cores
from clearsight.core.recipe import TrainSection
from clearsight.training.device import place
from clearsight.training.distributed import World


def test_on_a_cpu_fp32_and_all_cores() -> None:
    placed = place(TrainSection(device="cpu"), World())
    assert (placed.device.type, placed.precision, placed.threads) == ("cpu", "fp32", cores())
    assert placed.memory_format is torch.channels_last


def test_processes_share_the_cores() -> None:
    assert place(TrainSection(device="cpu"), World(rank=1, size=max(1, cores()))).threads == 1


@pytest.mark.parametrize(
    ("device", "sentence"), [("gpu", "no device of that"), ("mps", "only cpu and cuda"), ("cuda:99", "usable GPUs")]
)
def test_a_missing_device_is_one_sentence(device: str, sentence: str) -> None:
    with pytest.raises(BadValue, match=sentence):
        place(TrainSection(device=device), World())


def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(BadValue, match="float16 training needs a GPU"):
        place(TrainSection(device="cpu", precision="fp16"), World())
