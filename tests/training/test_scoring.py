"""A split is scored in sample order, each image once."""

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import torch

from clearsight.training.batches import Batch
from clearsight.training.distributed import World
from clearsight.training.scoring import outputs


class Shuffled:
    steps = 2

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        for chosen in ([3, 0], [1, 2, 3]):
            index = np.array(chosen)
            yield Batch(torch.tensor(chosen).float()[:, None], torch.tensor(chosen), index, tuple(map(str, chosen)))


def test_outputs_are_in_sample_order_and_repeats_count_once() -> None:
    logits, labels = outputs(lambda x: torch.cat([x, -x], 1), Shuffled(), nullcontext, World())
    assert labels.tolist() == [0, 1, 2, 3]
    assert logits[:, 0].tolist() == [0, 1, 2, 3]
