"""`export` packs a run or bundle into one archive that every command accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.bundle import open_bundle
from clearsight.core.errors import BadBundle, BadValue
from clearsight.testing.mean_colour import CLASSES, make_bundle
from clearsight.workflow.export import export


def test_an_exported_bundle_is_equal(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    archive = export(tmp_path / "bundle", tmp_path / "model.tar.gz")
    assert archive == tmp_path / "model.tar.gz"
    with open_bundle(archive) as opened:
        assert (opened.classes, opened.files) == (CLASSES, bundle.files)


def test_an_archive_can_be_exported_again_with_equal_bytes(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle")
    first = export(tmp_path / "bundle", tmp_path / "model.tar.gz").read_bytes()
    assert export(tmp_path / "model.tar.gz", tmp_path / "again.tgz").read_bytes() == first


@pytest.mark.parametrize("name", ["model.zip", "model", "model.tar"])
def test_another_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadValue, match=r"a bundle is packed as \.tar\.gz"):
        export(tmp_path, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match=r"bundle\.json is missing"):
        export(tmp_path, tmp_path / "model.tar.gz")
    assert not (tmp_path / "model.tar.gz").exists()
