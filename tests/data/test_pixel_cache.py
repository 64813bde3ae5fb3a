"""PixelCache stores decoded images while they fit into its budget."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from clearsight.core.dataset import Pixels
from clearsight.data.pixel_cache import PixelCache

IMAGE_BYTES = 10 * 10 * 3  # bytes of an image


def image(value: int = 0) -> Pixels:
    return np.full((10, 10, 3), value, dtype=np.uint8)


def fail() -> Pixels:
    raise AssertionError("the image is computed again")


def test_a_cached_image_is_computed_once() -> None:
    cache = PixelCache(IMAGE_BYTES)
    first = cache.get("a", lambda: image(7))
    assert cache.get("a", fail) is first
    assert (first == 7).all()


def test_the_budget_holds_and_the_first_images_stay() -> None:
    cache = PixelCache(2 * IMAGE_BYTES + 1)
    for name in "abc":
        cache.get(name, image)
    assert len(cache) == 2
    assert cache.used_bytes == 2 * IMAGE_BYTES
    cache.get("a", fail)
    cache.get("b", fail)
    assert (cache.get("c", lambda: image(9)) == 9).all()


def test_a_smaller_image_still_fits_behind_one_that_does_not() -> None:
    cache = PixelCache(IMAGE_BYTES)
    cache.get("large", lambda: np.zeros((20, 20, 3), dtype=np.uint8))
    cache.get("small", image)
    cache.get("small", fail)


def test_a_budget_of_zero_caches_nothing() -> None:
    cache = PixelCache(0)
    cache.get("a", image)
    assert len(cache) == 0


def test_a_cached_image_is_read_only_and_the_original_stays_writable() -> None:
    cache, original = PixelCache(IMAGE_BYTES), image()
    cached = cache.get("a", lambda: original)
    with pytest.raises(ValueError, match="read-only"):
        cached[0] = 1
    original[0] = 1


def test_threads_agree_on_one_image() -> None:
    cache = PixelCache(50 * IMAGE_BYTES)
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda i: int(cache.get(str(i % 50), lambda: image(i % 50))[0, 0, 0]), range(2000)))
    assert values == [i % 50 for i in range(2000)]
    assert (len(cache), cache.used_bytes) == (50, 50 * IMAGE_BYTES)
