"""The average follows the weights, and swapping it in leaves no trace."""

import pytest
import torch

from clearsight.training.ema import AveragedWeights


def test_follows_slowly_and_copies_counters() -> None:
    live = {"w": torch.zeros(3), "n": torch.tensor(0)}
    average = AveragedWeights(live, decay=0.5)
    live["w"].fill_(1.0)
    live["n"].fill_(7)
    average.update(live)
    assert torch.allclose(average.values["w"], torch.full((3,), 1 - 2 / 11))  # the decay starts at 2/11
    assert average.values["n"] == 7
    for _ in range(50):
        average.update(live)
    assert torch.allclose(average.values["w"], torch.ones(3))


def test_swap_is_undone_also_after_a_failure() -> None:
    live = {"w": torch.zeros(3)}
    average = AveragedWeights(live, decay=0.5)
    live["w"].fill_(1.0)

    def fail() -> None:
        with average.swapped(live):
            assert torch.equal(live["w"], torch.zeros(3))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert torch.equal(live["w"], torch.ones(3))
