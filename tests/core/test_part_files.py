"""Parts of dead writers are removed; those of live ones never."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clearsight.core import part_files
from clearsight.core.part_files import part_file, part_folder, remove_dead_parts

WRITER = """
import sys, time
from pathlib import Path
from clearsight.core.part_files import {function}
with {function}(Path(sys.argv[1])) as part:
    print(part, flush=True)
    time.sleep(600)
"""


def writer(function: str, target: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that writes a part of `target`, and return it with the path of the part."""
    words = [sys.executable, "-c", WRITER.format(function=function), str(target)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.mark.parametrize("function", ["part_file", "part_folder"])
def test_a_part_is_removed_once_its_writer_is_killed(function: str, tmp_path: Path) -> None:
    process, part = writer(function, tmp_path / "target.bin")
    try:
        remove_dead_parts(tmp_path)
        assert part.exists()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert part.exists()
    remove_dead_parts(tmp_path)
    assert not part.exists()


def test_a_part_of_another_thread_of_this_process_stays(tmp_path: Path) -> None:
    with part_file(tmp_path / "a") as file, part_folder(tmp_path / "b") as folder:
        remove_dead_parts(tmp_path)
        assert file.is_file()
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_another_machine_stays_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process, part = writer("part_file", tmp_path / "target.bin")
    process.kill()
    process.communicate()
    monkeypatch.setattr(part_files, "_HOST", "00000000")
    remove_dead_parts(tmp_path)
    assert part.exists()
    yesterday = time.time() - 90_000
    os.utime(part, (yesterday, yesterday))
    remove_dead_parts(tmp_path)
    assert not part.exists()


def test_files_of_other_programs_stay(tmp_path: Path) -> None:
    names = [".bashrc", "film.part", ".film.part", ".film.abcd1234.part", "a.tmp"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with part_file(tmp_path / "new"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_the_next_writer_in_a_folder_removes_them(tmp_path: Path) -> None:
    process, part = writer("part_file", tmp_path / "newest.safetensors")
    process.kill()
    process.communicate()
    with part_file(tmp_path / "other.json"):
        assert not part.exists()


def test_a_folder_that_is_not_there_has_no_parts(tmp_path: Path) -> None:
    remove_dead_parts(tmp_path / "nowhere")
