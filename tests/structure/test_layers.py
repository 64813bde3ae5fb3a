"""Layers: import contracts hold, modules have names and docstrings, and the environment is read at the edge."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "clearsight").rglob("*.py"))
NAMES_FOR_ANYTHING = {"utils", "helpers", "common", "manager", "misc"}


def test_import_contracts_hold() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_module_is_named_after_a_noun_or_a_verb() -> None:
    assert [path for path in SOURCES if path.stem in NAMES_FOR_ANYTHING] == []


def test_every_module_has_a_docstring() -> None:
    bare = [p for p in SOURCES if (text := p.read_text(encoding="utf-8").strip()) and not text.startswith('"""')]
    assert bare == []


def test_the_environment_is_read_at_the_edges_alone() -> None:
    """Packages get what they need as arguments: commands and calls from Python pass `Paths.of(os.environ)`.

    The process of a model with code of its own is such an edge: the code reads it.
    A default may be set for a library that takes no argument for it: with `setdefault`, or by `default_variable` of
    core.machine for the duration of an import.
    """
    sets_defaults = ROOT / "src" / "clearsight" / "core" / "machine.py"
    readers = [
        path.relative_to(ROOT)
        for path in SOURCES
        if not {"cli", "api", "handlers"} & {*path.parts}
        and path != sets_defaults
        and re.search(r"os\.environ(?!\.setdefault)", path.read_text(encoding="utf-8"))
    ]
    assert readers == []


def test_libraries_that_report_to_their_makers_are_imported_in_one_place() -> None:
    """`import_onnxruntime` and `import_openvino` of core.machine import them so that they do not."""
    direct = re.compile(r"^\s*(import|from) (onnxruntime|openvino)\b", re.MULTILINE)
    assert [path.name for path in SOURCES if direct.search(path.read_text(encoding="utf-8"))] == []
