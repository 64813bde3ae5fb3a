"""Batches for training equal, bit for bit, the inputs that an endpoint computes."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from clearsight.core.preprocess import Preprocess
from clearsight.data.geometry import normalise, scale_shift
from clearsight.data.loader import LoadedBatch as PixelBatch
from clearsight.training.batches import Batch, FeatureBatches, FeatureTime, ImageBatches

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


class TooLarge:
    """Features that do not fit into memory; their batches are computed one by one."""

    def __init__(self) -> None:
        self.reads = 0

    def read(self) -> tuple[torch.Tensor, FeatureTime]:
        self.reads += 1
        raise MemoryError

    def epoch(self, number: int, start: int) -> Iterator[Batch]:
        for step in range(start, 3):
            yield Batch(
                torch.full((2, 4), float(number)), torch.zeros(2), np.array([2 * step, 2 * step + 1]), ("a", "b")
            )

    def seconds(self) -> float:
        return 1.0


def test_features_that_do_not_fit_into_memory_are_computed_in_every_epoch(caplog: pytest.LogCaptureFixture) -> None:
    source = TooLarge()
    batches = FeatureBatches(source, np.zeros(6, np.int64), tuple("abcdef"), lambda e: np.arange(6), 2)
    assert not batches.read()
    assert [float(batch.inputs[0, 0]) for batch in batches.epoch(2, start=1)] == [2.0, 2.0]
    assert (batches.steps, batches.is_read, source.reads) == (3, False, 1)
    assert caplog.messages == ["note: the features do not fit into memory; every epoch computes them again."]
