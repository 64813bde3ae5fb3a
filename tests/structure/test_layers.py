"""The plan of the house holds: floors, mirrors, and no module that grew past one noun."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "clearsight").rglob("*.py"))
BANNED = {"utils", "helpers", "common", "manager", "misc"}


def test_floors_import_only_lower_floors() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_junk_drawers() -> None:
    assert [path for path in SOURCES if path.stem in BANNED] == []


def test_no_file_over_four_hundred_lines() -> None:
    long = {path.name: n for path in SOURCES if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400}
    assert long == {}


def test_every_module_is_described() -> None:
    bare = [p for p in SOURCES if (text := p.read_text(encoding="utf-8").strip()) and not text.startswith('"""')]
    assert bare == []


def test_environment_is_read_at_doors_only() -> None:
    """Rooms get what they need as arguments; `Places.of` is given the environment by a door."""
    inside = [
        path.relative_to(ROOT)
        for path in SOURCES
        if "cli" not in path.parts and "os.environ" in path.read_text(encoding="utf-8")
    ]
    assert inside == []
