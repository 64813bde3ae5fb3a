"""An archive lists what its folder lists; hostile members are refused."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadArchive, BadImage, ClearsightError, TooLarge
from clearsight.data.readers import archive
from clearsight.data.readers.archive import READER
from clearsight.data.readers.folders import READER as FOLDERS
from clearsight.data.readers.support import spool

TARS = [".tar", ".tar.gz", ".tar.bz2", ".tar.xz"]


def read(path: Path) -> Listing:
    return READER.read(path, ReadOptions())


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return path


def tarred(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, f"w:{path.suffix[1:] if path.suffix != '.tar' else ''}") as packed:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return path


def packed(path: Path, members: dict[str, bytes]) -> Path:
    return zipped(path, members) if path.suffix == ".zip" else tarred(path, members)


@pytest.fixture(scope="module")
def scenes(shared: Path) -> dict[str, bytes]:
    root = shared / "data" / "intel-scenes"
    files = [file for name in ("forest", "sea") for file in sorted((root / "seg_test" / name).iterdir())[:5]]
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


@pytest.mark.parametrize("ending", [".zip", *TARS])
@pytest.mark.parametrize("top", ["", "one/folder/"])
def test_an_archive_holds_what_its_folder_holds(
    tmp_path: Path, scenes: dict[str, bytes], ending: str, top: str
) -> None:
    for name, data in scenes.items():
        (tmp_path / "plain" / top / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plain" / top / name).write_bytes(data)
    listing = read(packed(tmp_path / f"scenes{ending}", {top + name: data for name, data in scenes.items()}))
    folder = FOLDERS.read(tmp_path / "plain", ReadOptions())
    assert listing.records == folder.records
    assert [notice.code for notice in listing.notices] == [notice.code for notice in folder.notices]
    for record in listing.records:
        assert listing.source.read(record.locator) == folder.source.read(record.locator)


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz"])
def test_junk_is_left_out(tmp_path: Path, scenes: dict[str, bytes], ending: str) -> None:
    junk = {"__MACOSX/sea/._1.jpg": b"x", "sea/.DS_Store": b"x", "sea/notes.txt": b"x", "sea/unknown": b"text"}
    some = {"sea/1.jpg": next(iter(scenes.values())), "forest/no_extension": next(iter(scenes.values()))}
    listing = read(packed(tmp_path / f"a{ending}", {**junk, **some, "sea/.ipynb_checkpoints/2.jpg": b"x"}))
    assert {record.locator for record in listing.records} == set(some)
    assert [notice.code for notice in listing.notices] == ["ipynb-checkpoints"]


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz"])
@pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg", "..\\x.jpg"])
def test_members_that_point_outside_are_refused(tmp_path: Path, ending: str, name: str) -> None:
    with pytest.raises(BadArchive, match="outside"):
        read(packed(tmp_path / f"a{ending}", {name: b"x"}))


def test_absurdly_deep_members_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match="deep"):
        read(zipped(tmp_path / "a.zip", {"a/" * 5000 + "1.jpg": b"x"}))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("cat/1.jpg")
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(info)
    with pytest.raises(BadArchive, match="link or a device"):
        read(tmp_path / "a.tar")
    link = zipfile.ZipInfo("cat/1.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packing:
        packing.writestr(link, "/etc/passwd")
    with pytest.raises(BadArchive, match="link or a device"):
        read(tmp_path / "a.zip")


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(tmp_path / "a.zip", {"cat/1.jpg": b"x"}).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(BadArchive, match="encrypted"):
        read(tmp_path / "a.zip")


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz"])
def test_a_member_over_the_limit_is_one_bad_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 1000)
    listing = read(packed(tmp_path / f"a{ending}", {"cat/1.jpg": bytes(1001), "dog/1.jpg": b"small"}))
    assert listing.source.read("dog/1.jpg") == b"small"
    with pytest.raises(BadImage, match="limit"):
        listing.source.read("cat/1.jpg")


def test_a_zip_bomb_gives_no_more_than_it_declares(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"cat/1.jpg": bytes(5_000_000), "dog/1.jpg": b"x"})
    data = bytearray(path.read_bytes())
    offset = data.index(b"PK\x01\x02")
    data[offset + 24 : offset + 28] = (1000).to_bytes(4, "little")  # the declared size
    path.write_bytes(data)
    with pytest.raises(BadImage, match="damaged"):
        read(path).source.read("cat/1.jpg")


def test_a_compressed_tar_has_a_limit_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MAX_BYTES", 1000)
    with pytest.raises(TooLarge):
        read(tarred(tmp_path / "a.tar.gz", {"cat/1.jpg": bytes(600), "dog/1.jpg": bytes(600)}))


def test_a_wrong_checksum_is_a_bad_image(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"cat/1.jpg": b"some content", "dog/1.jpg": b"x"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"some content", b"same content"))
    with pytest.raises(BadImage, match="damaged"):
        read(path).source.read("cat/1.jpg")


def test_stamp_follows_the_content(tmp_path: Path) -> None:
    stamps = [
        read(zipped(tmp_path / f"{text}.zip", {"cat/1.jpg": text.encode(), "dog/1.jpg": b"x"})).source.stamp(
            "cat/1.jpg"
        )
        for text in ("one", "two")
    ]
    assert stamps[0] != stamps[1]


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz", ".tar.xz"])
def test_a_file_with_only_the_name_of_an_archive_is_refused(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a{ending}").write_bytes(b"not an archive at all" * 100)
    with pytest.raises(BadArchive, match="damaged, cut short, or no archive"):
        read(tmp_path / f"a{ending}")


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz"])
def test_mutated_archives_are_read_or_refused(tmp_path: Path, scenes: dict[str, bytes], ending: str) -> None:
    some = {"cat/1.jpg": b"abc" * 50, "dog/1.jpg": next(iter(scenes.values()))[:500]}
    original = packed(tmp_path / f"a{ending}", some).read_bytes()

    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.lists(st.tuples(st.integers(0, len(original) - 1), st.integers(0, 255)), min_size=1, max_size=6))
    def check(changes: list[tuple[int, int]]) -> None:
        data = bytearray(original)
        for place, value in changes:
            data[place] = value
        path = tmp_path / f"mutated{ending}"
        path.write_bytes(data)
        try:
            listing = read(path)
            for record in listing.records:
                assert isinstance(listing.source.read(record.locator), bytes)
        except ClearsightError:
            return

    check()
