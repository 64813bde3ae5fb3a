"""PixelMemory: images kept while they fit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from clearsight.core.dataset import Pixels
from clearsight.data.pixel_cache import PixelCache

ONE = 10 * 10 * 3  # bytes of an image


def image(value: int = 0) -> Pixels:
    return np.full((10, 10, 3), value, dtype=np.uint8)


def fail() -> Pixels:
    raise AssertionError("made again")


def test_a_kept_image_is_made_once() -> None:
    memory = PixelCache(ONE)
    first = memory.get("a", lambda: image(7))
    assert memory.get("a", fail) is first
    assert (first == 7).all()


def test_the_budget_holds_and_the_first_stay() -> None:
    memory = PixelCache(2 * ONE + 1)
    for name in "abc":
        memory.get(name, image)
    assert len(memory) == 2
    assert memory.used_bytes == 2 * ONE
    memory.get("a", fail)
    memory.get("b", fail)
    assert (memory.get("c", lambda: image(9)) == 9).all()


def test_a_smaller_image_still_fits_behind_one_that_does_not() -> None:
    memory = PixelCache(ONE)
    memory.get("large", lambda: np.zeros((20, 20, 3), dtype=np.uint8))
    memory.get("small", image)
    memory.get("small", fail)


def test_no_budget_keeps_nothing() -> None:
    memory = PixelCache(0)
    memory.get("a", image)
    assert len(memory) == 0


def test_kept_images_cannot_be_changed_and_the_makers_own_array_can() -> None:
    memory, own = PixelCache(ONE), image()
    kept = memory.get("a", lambda: own)
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 1
    own[0] = 1


def test_threads_agree_on_one_image() -> None:
    memory = PixelCache(50 * ONE)
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda i: int(memory.get(str(i % 50), lambda: image(i % 50))[0, 0, 0]), range(2000)))
    assert values == [i % 50 for i in range(2000)]
    assert (len(memory), memory.used_bytes) == (50, 50 * ONE)
