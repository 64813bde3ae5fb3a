"""The embedded digits: stratified splits, the same files on every machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from clearsight.workflow.quickstart import write_digits


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


def test_every_digit_is_written_once_into_its_class(digits: Path) -> None:
    bunch = load_digits()
    assert sorted(int(path.stem) for path in files(digits)) == list(range(len(bunch.target)))
    for path in files(digits)[::50]:
        assert path.parent.name == str(bunch.target[int(path.stem)])
        with Image.open(path) as image:
            assert np.allclose(np.asarray(image), bunch.images[int(path.stem)] * (255 / 16), atol=1)


def test_splits_are_stratified(digits: Path) -> None:
    for digit in range(10):
        counts = np.array([len(files(digits / split / str(digit))) for split in ("train", "valid", "test")])
        assert np.allclose(counts / counts.sum(), [0.7, 0.15, 0.15], atol=0.01)


def test_a_second_copy_is_equal_and_a_complete_one_is_not_rewritten(digits: Path, tmp_path: Path) -> None:
    def digest(folder: Path) -> str:
        whole = hashlib.sha256()
        for path in files(folder):
            whole.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
        return whole.hexdigest()

    assert digest(write_digits(tmp_path / "again")) == digest(digits)
    removed = files(tmp_path / "again")[0]
    removed.unlink()
    write_digits(tmp_path / "again")
    assert not removed.exists(), "a complete copy is left alone"
    (tmp_path / "again" / "digits.json").unlink()
    write_digits(tmp_path / "again")
    assert removed.exists(), "an incomplete one is completed"
