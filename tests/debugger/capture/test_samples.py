"""Samples: a bounded number of feature vectors and of image statistics, at the right moments."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from clearsight.core.tensors import Moment, RawTensor, SavedRecord
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.samples import (
    FeatureSampler,
    ImageSampler,
    ThumbnailSampler,
    image_statistics,
    last_layer,
    sketched,
)
from clearsight.debugger.capture.transfer import RecordSender
from tests.debugger.capture.probing import of_kind, probe_of
from tests.debugger.networks import batches, network, sgd

Saved = list[tuple[str, int, int]]  # mode, training steps done, rows


def labels_of(size: int, start: int = 0) -> Tensor:
    return torch.arange(start, start + size) % 4


def sampler() -> tuple[FeatureSampler, list[SavedRecord]]:
    records: list[SavedRecord] = []
    return FeatureSampler(RecordSender(records.append)), records


def saved(records: list[SavedRecord]) -> Saved:
    return [(record.at.mode, record.at.train_step, len(record.value)) for record in of_kind(records, RawTensor)]


def steps(features: FeatureSampler, first: int, last: int, size: int = 32) -> None:
    for step in range(first, last + 1):
        features.receive(torch.full((size, 3), float(step)))
        features.add(Moment("train", step, 1, step), labels_of(size), labels_of(size))


def evaluation(features: FeatureSampler, step: int, count: int = 10, size: int = 64) -> None:
    for batch in range(count):
        features.receive(torch.full((size, 3), float(batch)))
        features.add(Moment("eval", batch + 1, 1, step), labels_of(size), labels_of(size))


def test_features_are_saved_at_the_beginning_then_ever_more_rarely_and_at_the_end() -> None:
    features, records = sampler()
    for epoch in range(10):
        steps(features, 20 * epoch + 1, 20 * epoch + 20)
        features.end_phase("train")
        evaluation(features, 20 * epoch + 20)
        features.end_phase("eval")
    features.finish()
    train = [step for mode, step, _ in saved(records) if mode == "train"]
    assert train == [8, 20, 40, 80, 160, 200]
    assert [step for mode, step, _ in saved(records) if mode == "eval"] == [20, 40, 80, 160, 200]
    assert max(rows for *_, rows in saved(records)) <= 256


def test_a_row_is_features_label_and_prediction_of_the_latest_steps() -> None:
    features, records = sampler()
    steps(features, 1, 8)  # saved as the beginning
    steps(features, 9, 30)
    features.finish()
    rows = of_kind(records, RawTensor)[-1].value
    assert rows.shape == (256, 5)
    assert set(rows[:, 0]) == set(range(23, 31))
    assert set(rows[:, -2]) == {0, 1, 2, 3}


@pytest.mark.parametrize(("count", "size"), [(1, 2000), (10, 64), (400, 1), (3, 7)])
def test_an_evaluation_is_sampled_evenly(count: int, size: int) -> None:
    features, records = sampler()
    evaluation(features, 5, count, size)
    features.finish()
    rows = of_kind(records, RawTensor)[-1].value
    assert min(100, count * size) <= len(rows) <= 256
    assert rows[:, 0].max() >= 0.8 * (count - 1)  # its last batches, too


def test_features_of_another_number_of_rows_than_labels_are_no_features() -> None:
    features, records = sampler()
    features.receive(torch.zeros(8, 3))
    features.add(Moment("train", 1, 1, 1), labels_of(4), labels_of(4))
    features.add(Moment("train", 1, 1, 1), labels_of(8), labels_of(8))  # those of the pass before are gone
    features.finish()
    assert saved(records) == []


@pytest.mark.parametrize("shape", [(6, 3000), (6, 5, 300), (6, 40, 7, 7), (6, 9)])
def test_long_features_are_sketched(shape: tuple[int, ...]) -> None:
    result = sketched(torch.randn(shape))
    assert result.shape[0] == 6
    assert result.shape[1] <= 256


def test_a_sketch_keeps_distances_in_expectation() -> None:
    values = torch.randn(40, 4000, generator=torch.Generator().manual_seed(0))
    ratio = torch.pdist(sketched(values)) / torch.pdist(values)
    assert ratio.mean().item() == pytest.approx(1.0, abs=0.05)


def test_images_are_described_one_by_one() -> None:
    images = torch.rand(5, 3, 12, 10, generator=torch.Generator().manual_seed(1))
    images[:, 2] = -2 * images[:, 0]
    rows = image_statistics(images)
    assert rows.shape == (5, 3 + 3 + 3 + 4)
    torch.testing.assert_close(rows[:, :3], images.mean((2, 3)))
    torch.testing.assert_close(rows[:, 3:6], images.std((2, 3), correction=0))
    torch.testing.assert_close(rows[:, 7], torch.full((5,), -1.0))  # channels 0 and 2
    assert rows[0, -2:].tolist() == [12.0, 10.0]


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 3, 1, 1), (1, 4, 5, 1)])
def test_constant_and_tiny_images_have_finite_statistics(shape: tuple[int, ...]) -> None:
    assert torch.isfinite(image_statistics(torch.ones(shape))).all()


def test_a_bounded_number_of_images_is_read() -> None:
    records: list[SavedRecord] = []
    images = ImageSampler(RecordSender(records.append))
    for step in range(1, 301):
        images.read(Moment("train", step, 1, step), torch.zeros(32, 1, 4, 4), due=step % 10 == 0)
        images.read(Moment("eval", step, 1, step), torch.zeros(3, 1, 4, 4), due=False)
    rows = {mode: [n for kind, _, n in saved(records) if kind == mode] for mode in ("train", "eval")}
    assert (len(rows["train"]), set(rows["train"])) == (8 + 30, {8})
    assert (len(rows["eval"]), set(rows["eval"])) == (64, {3})


def test_the_last_layer_is_the_last_linear_one_or_else_a_convolution() -> None:
    model = network()
    assert last_layer(InspectedModel.of(model)) is model[6]
    classifier = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert last_layer(InspectedModel.of(classifier)) is classifier[2]
    assert last_layer(InspectedModel.of(nn.Sequential(nn.ReLU()))) is None
    assert last_layer(InspectedModel.of(torch.compile(model, backend="eager"))) is None  # cannot be hooked


def test_the_probe_saves_what_the_last_layer_gets() -> None:
    records: list[SavedRecord] = []
    model = network()
    inputs, labels = next(batches(1))
    probe = probe_of(records)
    with probe.attach(model, sgd(model)):
        probe.begin_step(1, 1)
        logits = model(inputs)
        probe.record_predictions(logits, labels)
        probe.end_step()
    rows = torch.from_numpy(next(r.value for r in of_kind(records, RawTensor) if r.name == "features"))
    recomputed = rows[:, :-2] @ model[6].weight.T + model[6].bias
    torch.testing.assert_close(recomputed.detach(), logits.detach())
    assert rows[:, -2].tolist() == labels.tolist()
    assert rows[:, -1].tolist() == logits.argmax(1).tolist()


# Thumbnails


def thumbnail_sampler() -> tuple[ThumbnailSampler, list[SavedRecord]]:
    records: list[SavedRecord] = []
    return ThumbnailSampler(RecordSender(records.append)), records


def numbered(start: int, count: int) -> Tensor:
    """Return images (N, 1, 24, 24) whose pixels are their number."""
    return torch.arange(start, start + count, dtype=torch.float32).view(-1, 1, 1, 1).expand(count, 1, 24, 24)


def evaluate(sampler: ThumbnailSampler, size: int, *, batch: int = 64, together: bool = False) -> None:
    """Evaluate images of numbers 0, 1, ... whose label is their number; `together` tells all labels at the end."""
    for start in range(0, size, batch):
        images = numbered(start, min(batch, size - start))
        sampler.begin(Moment("eval", start // batch + 1, 1, 10), images)
        if not together:
            sampler.add("eval", images[:, 0, 0, 0].long(), images[:, 0, 0, 0].long())
    if together:
        sampler.add("eval", torch.arange(size), torch.arange(size))


def test_thumbnails_of_the_first_training_images_are_saved_once() -> None:
    sampler, records = thumbnail_sampler()
    for step in range(1, 30):
        sampler.begin(Moment("train", step, 1, step), numbered(32 * step, 32))
        sampler.add("train", torch.arange(32), torch.arange(32))
    sampler.finish()
    assert saved(records) == [("train", 8, 256)]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("size", "batch"), [(100, 64), (160, 32), (5000, 64), (3001, 7), (700, 1000)])
def test_an_evaluation_is_seen_evenly_and_every_image_beside_its_label(size: int, batch: int, together: bool) -> None:
    sampler, records = thumbnail_sampler()
    evaluate(sampler, size, batch=batch, together=together)
    sampler.end_phase("eval")
    rows = torch.from_numpy(of_kind(records, RawTensor)[0].value)
    assert rows.shape == (len(rows), 144 + 2)
    assert min(size, 128) <= len(rows) <= 256
    assert rows[:, 0].tolist() == rows[:, -2].tolist()
    assert len(set(rows[:, 0].diff().tolist())) == 1  # one in so many
    assert rows[-1, 0] >= 0.98 * size - 1 - size / len(rows)


def test_a_trial_of_a_few_batches_is_not_taken_for_the_first_evaluation() -> None:
    sampler, records = thumbnail_sampler()
    for size in (20, 300, 300):
        evaluate(sampler, size)
        sampler.end_phase("eval")
    sampler.finish()
    assert [rows for *_, rows in saved(records)] == [20, 150]


def test_images_without_labels_are_kept_and_their_labels_are_nan() -> None:
    sampler, records = thumbnail_sampler()
    sampler.begin(Moment("train", 1, 1, 1), numbered(0, 8))
    sampler.begin(Moment("train", 2, 1, 2), numbered(8, 8))
    sampler.add("train", torch.arange(8), torch.arange(8))
    sampler.begin(Moment("predict", 1, 1, 2), numbered(16, 8))
    sampler.finish()
    rows = torch.from_numpy(of_kind(records, RawTensor)[0].value)
    assert torch.isnan(rows[:, -2]).tolist() == 8 * [True] + 8 * [False]


def test_what_is_finished_before_anything_was_seen_begins_all_the_same() -> None:
    sampler, records = thumbnail_sampler()
    sampler.finish()  # as a probe does before it is attached
    sampler.begin(Moment("train", 1, 1, 1), numbered(0, 8))
    sampler.begin(Moment("train", 2, 1, 2), torch.zeros(8, 3, 9, 9))  # of another kind: left out
    sampler.finish()
    assert saved(records) == [("train", 1, 8)]
