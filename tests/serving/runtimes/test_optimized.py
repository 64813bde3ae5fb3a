"""Networks that onnxruntime has optimised are kept between starts."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from clearsight.core.bundle import Bundle
from clearsight.serving.predictor import Predictor, load
from clearsight.serving.runtimes import onnx, optimized
from clearsight.serving.runtimes.optimized import optimized_file
from clearsight.testing.mean_colour import prepare

DIGEST = "0" * 64


@pytest.fixture
def files(bundle: Bundle, tmp_path: Path) -> tuple[Path, Path]:
    """Return a network and an empty cache."""
    return bundle.onnx, tmp_path / "optimized"


def logits(path: Path, bundle: Bundle) -> np.ndarray:
    size = bundle.preprocess.size
    images = np.random.default_rng(0).normal(size=(3, 3, size, size)).astype(np.float32)
    return onnx.load(path, threads=1).run(images)


def test_the_optimised_network_gives_the_same_logits(files: tuple[Path, Path], bundle: Bundle) -> None:
    path = optimized_file(files[0], DIGEST, files[1])
    assert path != files[0]
    assert np.array_equal(logits(path, bundle), logits(files[0], bundle))


def test_it_is_made_once(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = optimized_file(files[0], DIGEST, files[1])
    monkeypatch.setattr(optimized, "_optimize", lambda path, folder: pytest.fail("it was there"))
    assert optimized_file(files[0], DIGEST, files[1]) == path


def test_another_network_and_another_processor_have_files_of_their_own(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (optimized_file(files[0], digest * 64, files[1]) for digest in "01")
    monkeypatch.setattr(optimized, "instruction_set", lambda: "another one")
    third = optimized_file(files[0], DIGEST, files[1])
    assert len({first.parent, second.parent, third.parent}) == 3


@pytest.mark.parametrize("damage", [b"", b"not a network"])
def test_a_damaged_file_is_made_again(files: tuple[Path, Path], bundle: Bundle, damage: bytes) -> None:
    path = optimized_file(files[0], DIGEST, files[1])
    path.write_bytes(damage)
    assert optimized_file(files[0], DIGEST, files[1]) == path
    assert np.array_equal(logits(path, bundle), logits(files[0], bundle))


def test_without_a_place_for_it_the_network_itself_is_used(
    files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    files[1].write_bytes(b"a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        assert optimized_file(files[0], DIGEST, files[1]) == files[0]
    assert "cannot be kept" in caplog.text


def test_the_networks_that_were_used_last_stay(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimized, "_MOST", 2)
    paths = []
    for number in range(3):
        paths.append(optimized_file(files[0], str(number) * 64, files[1]))
        os.utime(paths[-1].parent, (number, number))
    assert [path.exists() for path in paths] == [False, True, True]


def test_a_predictor_of_an_optimised_network_answers_as_without(predictor: Predictor, tmp_path: Path) -> None:
    with_cache = load(predictor.bundle, prepare, optimized=tmp_path / "optimized")
    image = predictor.prepared(np.full((64, 64, 3), 200, np.uint8))
    assert np.array_equal(with_cache.probabilities(image[None]), predictor.probabilities(image[None]))
    assert len(list((tmp_path / "optimized").iterdir())) == 1
