"""Names from all over the world are printed on terminals of every encoding: with "?" for what it lacks, exit code 0."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import pytest

CLASSES = ("猫", "собака", "ñandú", "🐶")


@pytest.fixture(scope="module")
def animals(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with four classes that are named outside of ASCII."""
    root = tmp_path_factory.mktemp("data") / "animals"
    images = sorted((digits / "train").rglob("*.png"))[:32]
    for name, image in zip(cycle(CLASSES), images, strict=False):
        (root / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(image, root / name / image.name)
    return root


def output_of(*words: object, **variables: str) -> bytes:
    """Return what `clearsight WORDS` writes to stdout; it must succeed."""
    environment = {**os.environ, "PYTHONUTF8": "0", **variables}
    program = [sys.executable, "-m", "clearsight", *words]
    done = subprocess.run(list(map(os.fsencode, map(str, program))), capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_json_is_whole_in_any_encoding(animals: Path, encoding: str) -> None:
    printed = output_of("data", animals, "--json", PYTHONIOENCODING=encoding).decode(encoding)
    assert sorted(json.loads(printed)["classes"]) == sorted(CLASSES)


def test_lines_have_question_marks_for_what_an_encoding_lacks(animals: Path) -> None:
    printed = output_of("data", animals, PYTHONIOENCODING="latin-1").decode("latin-1").splitlines()
    assert [line.split()[0] for line in printed[1:5]] == ["ñandú", "??????", "?", "?"]


@pytest.mark.parametrize("variables", [{}, {"PYTHONIOENCODING": "ascii"}])
def test_the_locale_c_has_file_names_in_utf8(animals: Path, variables: dict[str, str]) -> None:
    printed = output_of("data", animals, "--json", LC_ALL="C", PYTHONCOERCECLOCALE="0", **variables)
    assert sorted(json.loads(printed.decode())["classes"]) == sorted(CLASSES)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS and Windows have no such file names")
def test_a_folder_whose_name_is_not_utf8(animals: Path, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    shutil.copytree(animals, folder)
    page = tmp_path / "data.html"
    printed = output_of("data", folder, "--html", page, "--json", PYTHONIOENCODING="utf-8")
    assert sorted(json.loads(printed.decode("utf-8"))["classes"]) == sorted(CLASSES)
    assert "caf?" in page.read_text(encoding="utf-8")
