"""What a cache file holds is whole or not used; a cache that cannot be written is said once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.cache import optional_write, read_sealed, remove_parts, write_sealed
from clearsight.core.errors import DiskFull


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_text_comes_back(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("cache") / "a"
    write_sealed(path, text)
    assert read_sealed(path, "numbers") == text


@pytest.mark.parametrize("damage", [b"", b"\0" * 80, b"{}\n1", b"null\n1", b"\xff\xfe", b'{"sha256": 1}\n1'])
def test_anything_else_is_damaged_and_said(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a").write_bytes(damage)
    assert read_sealed(tmp_path / "a", "numbers") is None
    assert caplog.messages == [f"note: the cached numbers in {tmp_path / 'a'} are damaged; they are made again."]


def test_a_missing_file_is_not_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_sealed(tmp_path / "a", "numbers") is None
    assert read_sealed(tmp_path / "a" / "b", "numbers") is None
    assert caplog.messages == []


@pytest.mark.parametrize(
    "error",
    [OSError(30, "Read-only file system"), DiskFull("c", "no space is left on the device"), MemoryError()],
    ids=["read-only", "full", "memory"],
)
def test_one_note_for_what_cannot_be_written(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        with optional_write(tmp_path):
            raise error
    (message,) = caplog.messages
    assert message.startswith(f"note: the cache {tmp_path} cannot be written to (")
    assert "CLEARSIGHT_CACHE" in message


def test_other_errors_are_raised(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ours"), optional_write(tmp_path):
        raise ValueError("ours")


def test_only_parts_are_removed_from_the_folder_of_a_cache(tmp_path: Path) -> None:
    stay = [".bashrc", ".0123.lock", "notes.part", "a.jsonl"]
    go = [".a.jsonl.abcd_123.part", f".{'0' * 32}.abcd1234"]
    for name in (*stay, *go):
        (tmp_path / name).write_bytes(b"")
    remove_parts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stay)
