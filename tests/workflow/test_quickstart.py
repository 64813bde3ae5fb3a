"""The embedded data: real digits, split by class, the same on every machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from clearsight.workflow.quickstart import write_digits


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


def test_every_digit_is_there_once_under_its_own_class(digits: Path) -> None:
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


def test_written_again_it_is_the_same_and_nothing_is_rewritten(digits: Path, tmp_path: Path) -> None:
    def digest(folder: Path) -> str:
        whole = hashlib.sha256()
        for path in files(folder):
            whole.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
        return whole.hexdigest()

    assert digest(write_digits(tmp_path / "again")) == digest(digits)
    victim = files(tmp_path / "again")[0]
    victim.unlink()
    write_digits(tmp_path / "again")
    assert not victim.exists(), "a complete copy is left alone"
    (tmp_path / "again" / "digits.json").unlink()
    write_digits(tmp_path / "again")
    assert victim.exists(), "an incomplete one is completed"
