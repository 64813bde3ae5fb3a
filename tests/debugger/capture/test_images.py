"""Images: statistics by channel, and fingerprints."""

from __future__ import annotations

import numpy as np
import torch

from clearsight.debugger.capture.images import are_images, channels, fingerprints


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
