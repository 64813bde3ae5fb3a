"""Batches for training equal, bit for bit, the inputs that an endpoint computes."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from clearsight.core.preprocess import Preprocess
from clearsight.data.geometry import normalise, scale_shift
from clearsight.data.loader import LoadedBatch as PixelBatch
from clearsight.training.batches import FeatureBatches, ImageBatches

PREPROCESS = Preprocess(size=8, resize=8, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


class OneBatch:
    steps = 1

    def epoch(self, number: int, start: int = 0) -> Iterator[PixelBatch]:
        images = np.random.default_rng(number).integers(0, 256, (256, 8, 8, 3), dtype=np.uint8)
        ids = tuple(map(str, range(256)))
        yield PixelBatch(images=images, labels=np.zeros(256, np.int64), ids=ids, indices=np.arange(256))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_images_equal_the_serving_path_to_the_last_bit(layout: torch.memory_format) -> None:
    batches = ImageBatches(OneBatch(), scale_shift(PREPROCESS), torch.device("cpu"), layout)
    (batch,) = batches.epoch(1)
    (pixels,) = OneBatch().epoch(1)
    assert np.array_equal(batch.inputs.numpy(), normalise(pixels.images, PREPROCESS))
    assert batch.inputs.is_contiguous(memory_format=layout)


def test_features_come_in_the_order_of_the_epoch_and_from_any_batch_on() -> None:
    views = torch.arange(10.0).view(1, 10, 1)
    batches = FeatureBatches(views, np.arange(10), tuple("abcdefghij"), lambda e: np.roll(np.arange(10), e), 4)
    whole = list(batches.epoch(3))
    assert batches.steps == 3
    assert torch.cat([batch.inputs for batch in whole]).flatten().tolist() == [7, 8, 9, 0, 1, 2, 3, 4, 5, 6]
    assert [batch.ids for batch in batches.epoch(3, start=2)] == [("f", "g")]
    assert all((batch.labels.numpy() == batch.indices).all() for batch in whole)


def test_features_take_their_views_in_turn() -> None:
    views = torch.stack([torch.zeros(4, 2), torch.ones(4, 2)])
    batches = FeatureBatches(views, np.zeros(4, np.int64), tuple("abcd"), lambda e: np.arange(4), 4)
    assert [float(next(batches.epoch(e)).inputs.mean()) for e in (1, 2, 3)] == [0.0, 1.0, 0.0]
