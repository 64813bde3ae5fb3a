"""Statistics: exact on all elements, estimates on a sample. Images: statistics by channel, and fingerprints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from clearsight.core.tensors import BINS, STATISTICS
from clearsight.debugger.capture import statistics
from clearsight.debugger.capture.statistics import (
    Summary,
    are_images,
    channels,
    fingerprints,
    flattened,
    read,
    stride,
    tabulate,
)


def summarize(tensors: Sequence[torch.Tensor], sample: int | None = None) -> Summary:
    return tabulate([read(tensor, sample) for tensor in tensors])


def row(tensor: torch.Tensor, sample: int | None = None) -> dict[str, float]:
    table = summarize([tensor], sample).table[0]
    return dict(zip(STATISTICS, table.tolist(), strict=True))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(7,), (300, 300), (64, 3, 7, 7), (1,), (3, 70_001)])
def test_full_statistics_are_those_of_numpy(shape: tuple[int, ...]) -> None:
    tensor = (normal(*shape) * 0.1 + 0.3).clamp_min(0)
    seen, values = row(tensor), tensor.numpy().astype(np.float64)
    expected = {
        "count": values.size,
        "mean": values.mean(),
        "std": values.std(),
        "min": values.min(),
        "max": values.max(),
        "abs_mean": np.abs(values).mean(),
        "l2": np.sqrt((values**2).sum()),
        "zero_fraction": (values == 0).mean(),
        "nan": 0,
        "inf": 0,
    }
    for name, value in expected.items():
        assert seen[name] == pytest.approx(value, rel=1e-5, abs=1e-7), name


def test_quantiles_of_a_small_tensor_are_exact() -> None:
    values = normal(1000)
    for name in ("q01", "q25", "q50", "q99"):
        assert row(values)[name] == pytest.approx(np.quantile(values.numpy(), int(name[1:]) / 100), rel=1e-4, abs=1e-5)


def test_the_spread_survives_a_mean_far_from_zero() -> None:
    assert row(normal(100_000) + 1e4)["std"] == pytest.approx(1.0, rel=0.02)


def test_equal_elements_have_no_spread() -> None:
    assert row(torch.full((100_003,), 0.1))["std"] == 0.0
    assert row(torch.full((100_003,), 0.1), sample=64)["std"] == 0.0


def test_huge_values_do_not_overflow() -> None:
    seen = row(normal(1000) * 1e25)
    assert np.isfinite(list(seen.values())).all()
    assert seen["l2"] == pytest.approx(float((normal(1000).double() * 1e25).norm()), rel=1e-4)


def test_nan_and_infinity_are_counted_and_left_out_of_the_rest() -> None:
    seen = row(torch.tensor([1.0, torch.nan, torch.inf, -torch.inf, 3.0]))
    assert (seen["count"], seen["nan"], seen["inf"]) == (5, 1, 2)
    assert (seen["mean"], seen["min"], seen["max"]) == (2, 1, 3)


def test_one_nan_is_found_wherever_it_is_even_by_a_sample() -> None:
    for place in (1, 4097, 99_998):
        tensor = normal(100_000)
        tensor[place] = torch.nan
        assert row(tensor, sample=64)["nan"] == 1
        tensor[place] = -torch.inf
        assert row(tensor, sample=64)["inf"] == 1


@pytest.mark.parametrize("tensor", [torch.zeros(0), torch.tensor([torch.nan])])
def test_nothing_finite_gives_zeros(tensor: torch.Tensor) -> None:
    assert row(tensor)["mean"] == row(tensor)["max"] == row(tensor)["q50"] == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_are_summed_in_a_wide_one(dtype: torch.dtype) -> None:
    tensor = torch.ones(200_000, dtype=dtype)  # a sum in half precision would be infinite
    assert (row(tensor)["mean"], row(tensor)["nan"]) == (1, 0)


def test_memory_layout_does_not_matter() -> None:
    tensor = normal(4, 8, 20, 20)
    assert flattened(tensor.to(memory_format=torch.channels_last)).is_contiguous()
    last, holes = row(tensor.to(memory_format=torch.channels_last)), row(normal(4, 8, 20, 40)[..., ::2])
    assert last["l2"] == pytest.approx(row(tensor)["l2"], rel=1e-5)
    assert holes["count"] == 4 * 8 * 20 * 20


def test_a_sample_estimates() -> None:
    tensor = normal(200_000).relu()
    seen, whole = row(tensor, sample=2048), row(tensor)
    assert seen["count"] == whole["count"]
    for name in ("mean", "std", "abs_mean", "l2", "zero_fraction"):
        assert seen[name] == pytest.approx(whole[name], rel=0.1), name


def test_a_sample_holds_elements_of_every_column() -> None:
    """512 x 512 at every 64th element would be eight columns of 512."""
    step = stride(512 * 512, (512, 512), 4096)
    assert len({place % 512 for place in range(0, 512 * 512, step)}) == 512


def test_a_small_tensor_is_read_in_full_whatever_the_sample() -> None:
    tensor = normal(500)
    np.testing.assert_allclose(
        summarize([tensor], 2048).table.numpy(), summarize([tensor]).table.numpy(), rtol=1e-5, atol=1e-6
    )


def test_histograms_run_from_min_to_max_and_sum_to_the_elements() -> None:
    tensors = [normal(5000), torch.linspace(0, 1, 33), torch.ones(9), torch.tensor([1.0, 2.0, torch.nan])]
    histograms = summarize(tensors).histograms
    assert histograms.shape == (4, BINS)
    np.testing.assert_allclose(histograms.sum(1).numpy(), [5000, 33, 9, 2], rtol=1e-5)
    expected, _ = np.histogram(np.linspace(0, 1, 33), BINS)
    assert np.abs(histograms[1].numpy() - expected).max() <= 1


def test_many_tensors_give_the_rows_that_each_gives_alone() -> None:
    tensors = [normal(10), normal(100_000, seed=1), torch.zeros(0), normal(3, 3, 3, 3, seed=2)]
    joint = summarize(tensors)
    for place, tensor in enumerate(tensors):
        torch.testing.assert_close(joint.table[place], summarize([tensor]).table[0])


def test_no_tensors_give_no_rows() -> None:
    assert summarize([]).table.shape == (0, len(STATISTICS))


def test_the_path_without_waiting_agrees_with_the_fast_one() -> None:
    """On CUDA nothing may look at a value; the same kernels run on a CPU."""
    for tensor in (normal(70_000) * 2 + 1, torch.tensor([1.0, torch.nan, -torch.inf]), torch.zeros(0), torch.ones(5)):
        torch.testing.assert_close(
            statistics._exact_masked(tensor), statistics._exact_cpu(tensor), rtol=1e-4, atol=1e-6
        )


def test_the_tensor_is_left_as_it_was() -> None:
    tensor = normal(100, 100).requires_grad_()
    before, version = tensor.detach().clone(), tensor._version
    summarize([tensor]), summarize([tensor], 16)
    assert torch.equal(tensor, before)
    assert tensor._version == version


# Images


def test_each_channel_has_mean_spread_and_range() -> None:
    batch = (
        torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2, 3])[:, None, None]
    )
    table, values = channels(batch.to(memory_format=torch.channels_last)).numpy(), batch.numpy()
    expected = [reduced((0, 2, 3)) for reduced in (values.mean, values.std, values.min, values.max)]
    np.testing.assert_allclose(table, np.stack(expected, 1), rtol=1e-4, atol=1e-6)


def test_features_are_no_images() -> None:
    assert are_images(torch.zeros(2, 1, 28, 28))
    assert not are_images(torch.zeros(2, 64, 7, 7))
    assert not are_images(torch.zeros(2, 1280))
    assert not are_images(torch.zeros(0, 3, 8, 8))


def test_equal_images_have_equal_fingerprints_wherever_they_stand() -> None:
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    prints = fingerprints(images)
    assert prints.dtype == torch.int64
    assert len(set(prints.tolist())) == 8
    assert torch.equal(fingerprints(images.flip(0)), prints.flip(0))
    assert torch.equal(fingerprints(images.contiguous(memory_format=torch.channels_last)), prints)


def test_one_changed_element_of_a_small_image_changes_its_fingerprint() -> None:
    image = torch.zeros(1, 3, 8, 8)
    prints = {int(fingerprints(image))}
    for place in range(image.numel()):
        other = image.clone()
        other.view(-1)[place] = 0.5
        prints.add(int(fingerprints(other)))
    assert len(prints) == image.numel() + 1
