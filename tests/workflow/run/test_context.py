"""World and GPUs of a run are read from the environment variables of its process."""

from __future__ import annotations

import pytest

from clearsight.training.distributed import World
from clearsight.workflow.run.context import gpu_count, visible_gpus, world_of


def test_without_torchrun_a_process_is_alone() -> None:
    assert world_of({}) == World()
    assert world_of({"RANK": "3"}) == World()


def test_torchrun_gives_each_process_its_place() -> None:
    environ = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
    assert world_of(environ) == World(rank=3, size=4, local_rank=1)
    assert world_of({"RANK": "1", "WORLD_SIZE": "2"}) == World(rank=1, size=2, local_rank=0)


@pytest.mark.parametrize(
    ("devices", "visible", "count"),
    [("", [], 0), ("0, 2", ["0", "2"], 2), ("-1", ["-1"], 0), ("GPU-a,GPU-b", ["GPU-a", "GPU-b"], 2)],
)
def test_visible_gpus_are_those_of_the_environment(devices: str, visible: list[str], count: int) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": devices}) == visible
    assert gpu_count({"CUDA_VISIBLE_DEVICES": devices}) == count


def test_without_the_variable_all_gpus_are_visible() -> None:
    assert visible_gpus({}) is None
    assert gpu_count({}) >= 0  # also without a driver
