"""Files are whole or absent; archives are not trusted."""

from __future__ import annotations

import errno
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadArchive, BadData, DiskFull, NotFound
from clearsight.core.files import (
    LineFollower,
    atomic,
    disk_full_as_error,
    finite_json,
    json_text,
    read_json,
    read_jsonl,
    sha256,
    unpack,
    write_bytes,
    write_json,
    write_text,
)


def test_replaces_the_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.bin"
    write_bytes(target, b"old")
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_bytes(target, b"old")

    def half() -> None:
        with atomic(target) as part:
            part.write_bytes(b"ha")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        half()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_bytes(target, b"old")

    def full() -> None:
        with atomic(target):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskFull, match="no space is left"):
        full()
    assert target.read_bytes() == b"old"


def test_a_really_full_device_is_reported(tmp_path: Path) -> None:
    """/dev/full refuses every byte as a full disk does."""
    with pytest.raises(DiskFull), atomic(tmp_path / "a"), Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"x")


def test_without_a_sync_it_is_whole_or_absent_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(handle: int) -> None:
        raise AssertionError("a sync")

    monkeypatch.setattr("os.fsync", unwanted)
    with atomic(tmp_path / "a", sync=False) as part:
        part.write_bytes(b"new")
        assert not (tmp_path / "a").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_other_errors_are_no_full_disk(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), disk_full_as_error(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_json_refuses_what_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_json_round_trip_and_missing_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"é": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"é": [1, 2.5, None]}
    with pytest.raises(NotFound):
        read_json(tmp_path / "b.json")


@given(text=st.text(st.characters(exclude_categories=()), max_size=8))  # lone surrogates: file names that are not UTF-8
def test_json_restores_every_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    write_json(path, {text: [text]})
    pairs = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # \ud83d\udc36 is one character
    assert read_json(path) in ({text: [text]}, {pairs: [pairs]})
    path.read_bytes().decode("utf-8")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r", "utf-8"])
def test_json_fits_every_encoding(encoding: str) -> None:
    value = {"猫": "собака 🐶 caf\udce9"}
    assert json.loads(json_text(value, encoding).encode(encoding).decode(encoding)) == value


def test_text_of_a_name_that_is_not_utf8_is_written_as_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.html", "猫 caf\udce9")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == "猫 caf?"


def test_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a").startswith("ba7816bf8f01cfea")


def make_tar(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, size: int = 3, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


@pytest.mark.parametrize(
    "bad",
    [
        member("../evil"),
        member("/etc/evil"),
        member("a/../../evil"),
        member("link", 0, tarfile.SYMTYPE, "/etc/passwd"),
        member("hard", 0, tarfile.LNKTYPE, "good"),
        member("device", 0, tarfile.CHRTYPE),
    ],
    ids=lambda info: info.name,
)
def test_an_archive_that_reaches_out_is_refused_whole(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", member("good"), bad)
    with pytest.raises(BadArchive):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "evil").exists()


def make_zip(path: Path, name: str = "a/b.txt", **fields: int) -> Path:
    """Write a zip with one member; flags and method are written over both of its headers."""
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(zipfile.ZipInfo(name), "hello" * 10)
    data = bytearray(path.read_bytes())
    for mark, flags, method in ((b"PK\3\4", 6, 8), (b"PK\1\2", 8, 10)):
        at = data.index(mark)
        data[at + flags] |= fields.get("flags", 0)
        data[at + method] = fields.get("method", 0)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("a/b.txt", {"flags": 1}, r"member 'a/b.txt' is encrypted. Pack it without a password\.$"),
        ("a/b.txt", {"method": 99}, "it cannot be read"),  # AES of 7-Zip and WinZip
        ("a/b.txt", {"method": 8}, "it cannot be read"),  # no deflated bytes
        (".", {}, "would be written outside its folder"),
        ("..\\b.txt", {}, "would be written outside its folder"),
        ("C:\\b.txt", {}, "would be written outside its folder"),
        ("x" * 5000, {}, "it cannot be read"),
    ],
)
def test_an_odd_zip_is_one_sentence(tmp_path: Path, name: str, fields: dict[str, int], words: str) -> None:
    with pytest.raises(BadArchive, match=words) as caught:
        unpack(make_zip(tmp_path / "a.zip", name, **fields), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_archive_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"hello")
    with pytest.raises(BadArchive, match=r"a\.tar\.gz: it is neither a zip nor a tar archive, or it is cut short\.$"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")


def test_an_archive_bomb_is_counted_while_it_unpacks(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", member("zeros", 5_000_000))
    with pytest.raises(BadArchive, match="more than 1000000 bytes"):
        unpack(archive, tmp_path / "out", max_bytes=1_000_000)
    with pytest.raises(BadArchive, match="more than 1 files"):
        unpack(make_tar(tmp_path / "b.tar.gz", member("a"), member("b")), tmp_path / "out", max_files=1)


def test_a_zip_link_is_refused_and_a_good_zip_unpacks(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "good.zip", "w") as packed:
        packed.writestr("a/b.txt", "hello")
    unpack(tmp_path / "good.zip", tmp_path / "out")
    assert (tmp_path / "out/a/b.txt").read_text() == "hello"
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as packed:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        packed.writestr(info, "/etc/passwd")
    with pytest.raises(BadArchive, match="link"):
        unpack(tmp_path / "bad.zip", tmp_path / "out2")


@given(st.binary(max_size=600))
def test_no_bytes_unpack_to_anything_but_an_answer(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    folder = tmp_path_factory.mktemp("noise")
    (folder / "a.tar").write_bytes(noise)
    try:
        unpack(folder / "a.tar", folder / "out", max_bytes=10_000)
    except BadArchive:
        assert not (folder / "out").exists()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def append(file: Path, text: str) -> None:
    with file.open("a", encoding="utf-8") as stream:
        stream.write(text)


def test_each_line_comes_once(file: Path) -> None:
    following = LineFollower(file)
    assert following.lines() == []  # not there yet
    append(file, "a\nb\n")
    assert following.lines() == ["a", "b"]
    assert following.lines() == []
    append(file, "c\n")
    assert following.lines() == ["c"]
    assert following.restarts == 0


def test_a_torn_last_line_waits_for_its_end(file: Path) -> None:
    following = LineFollower(file)
    append(file, 'a\n{"step": 1')
    assert following.lines() == ["a"]
    append(file, "2}")
    assert following.lines() == []
    append(file, "\n")
    assert following.rows() == [{"step": 12}]


def test_a_letter_torn_in_the_middle_is_whole_in_the_end(file: Path) -> None:
    following = LineFollower(file)
    file.write_bytes("é".encode()[:1])
    assert following.lines() == []
    file.write_bytes("é\n".encode())
    assert following.lines() == ["é"]


def test_a_file_cut_short_is_read_again(file: Path) -> None:
    following = LineFollower(file)
    append(file, "a\nb\nc\n")
    following.lines()
    file.write_text("a\n")
    assert following.lines() == ["a"]
    assert following.restarts == 1
    append(file, "d\n")
    assert following.lines() == ["d"]


def test_a_file_written_anew_and_already_longer_is_read_again(file: Path) -> None:
    following = LineFollower(file)
    append(file, "a\nb\n")
    following.lines()
    file.write_text("a\nother\nlines\n")
    assert following.lines() == ["a", "other", "lines"]
    assert following.restarts == 1


def test_a_file_replaced_by_the_same_text_and_more_goes_on(file: Path) -> None:
    following = LineFollower(file)
    append(file, "a\nb\n")
    following.lines()
    new = file.with_suffix(".part")
    new.write_text("a\nb\nc\n")
    new.replace(file)
    assert following.lines() == ["c"]
    assert following.restarts == 0


def test_a_file_that_goes_away_starts_again(file: Path) -> None:
    following = LineFollower(file)
    append(file, "a\n")
    following.lines()
    file.unlink()
    assert following.lines() == []
    append(file, "a\n")
    assert following.lines() == ["a"]
    assert following.restarts == 1


def test_of_a_long_file_the_tail_is_enough(file: Path) -> None:
    append(file, "".join(f"line {i:03}\n" for i in range(100)))
    following = LineFollower(file, tail=25)
    assert following.lines() == ["line 098", "line 099"]
    append(file, "line 100\n")
    assert following.lines() == ["line 100"]
    assert following.restarts == 0


def test_a_line_that_the_tail_cut_is_left_out_even_when_its_end_comes_later(file: Path) -> None:
    append(file, "a" * 100)
    following = LineFollower(file, tail=10)
    assert following.lines() == []
    append(file, "\nb\n")
    assert following.lines() == ["b"]


def test_a_file_shorter_than_the_tail_is_read_whole(file: Path) -> None:
    append(file, "a\nb\n")
    assert LineFollower(file, tail=100).lines() == ["a", "b"]


def test_lines_that_are_no_objects_are_counted_and_left_out(file: Path) -> None:
    append(file, '{"step": 1}\n{"st\n\n3\n{"step": 2}\n')
    following = LineFollower(file)
    assert following.rows() == [{"step": 1}, {"step": 2}]
    assert following.broken == 2


def test_nothing_is_read_twice(file: Path) -> None:
    """A thousand looks at a long file cost what one costs: only what is new is parsed."""
    following, seen = LineFollower(file), []
    for step in range(1000):
        append(file, json.dumps({"step": step}) + "\n")
        seen += following.rows()
    assert [row["step"] for row in seen] == list(range(1000))


def test_a_damaged_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a":\n{"a": 3}\n')
    with pytest.raises(BadData, match="line 2 is damaged"):
        list(read_jsonl(tmp_path / "a.jsonl"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (np.float64("inf"), None),
        (0.5, 0.5),
        (7, 7),
        ({"a": (float("-inf"), {"b": [1.5, float("nan")]})}, {"a": [None, {"b": [1.5, None]}]}),
        ({1: "NaN"}, {"1": "NaN"}),
    ],
)
def test_numbers_that_json_cannot_express_are_null(value: object, expected: object) -> None:
    assert finite_json(value) == expected
    json.dumps(finite_json(value), allow_nan=False)
