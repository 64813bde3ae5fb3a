"""sitecustomize: starts the profiler in the Python processes of a command, and changes nothing else in them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import clearsight.cli

INJECTED = Path(clearsight.cli.__file__).parent / "injected"
LOADED = "import sys; print(*sorted(name for name in sys.modules if name.partition('.')[0] in ('clearsight', 'torch')))"


def python(code: str, *paths: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a Python that finds this sitecustomize first."""
    added = {"PYTHONPATH": os.pathsep.join(map(str, (INJECTED, *paths))), **environment}
    unset = {name: value for name, value in os.environ.items() if not name.startswith("CLEARSIGHT")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**unset, **added})
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done


def test_nothing_is_imported_without_a_folder(tmp_path: Path) -> None:
    assert python(LOADED).stdout.split() == []
    assert python(LOADED, CLEARSIGHT_PROFILE=str(tmp_path / "nowhere")).stdout.split() == []


def test_with_a_folder_it_waits_for_torch_without_importing_it(tmp_path: Path) -> None:
    loaded = python(LOADED, CLEARSIGHT_PROFILE=str(tmp_path)).stdout.split()
    assert "clearsight.profiler.external.import_hook" in loaded
    assert "torch" not in loaded
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("profiled", [True, False])
def test_the_users_own_sitecustomize_runs_too(tmp_path: Path, profiled: bool) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.greeting = __name__ + ' of the user'\n")
    folder = {"CLEARSIGHT_PROFILE": str(tmp_path)} if profiled else {}
    done = python("import sys, sitecustomize; print(sys.greeting, sitecustomize.__file__)", tmp_path, **folder)
    assert done.stdout == f"sitecustomize of the user {tmp_path / 'sitecustomize.py'}\n"


def test_the_injected_folder_is_not_on_the_path_of_the_script(tmp_path: Path) -> None:
    assert python("import sys; print(*sys.path)", tmp_path).stdout.split().count(str(INJECTED)) == 0


def test_a_python_without_clearsight_leaves_a_note_for_its_parent(tmp_path: Path) -> None:
    code = "import runpy, sys; sys.modules['clearsight'] = None; "
    code += f"runpy.run_path({str(INJECTED / 'sitecustomize.py')!r}, run_name='sitecustomize')"
    environment = {**os.environ, "CLEARSIGHT_PROFILE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "its steps were not timed" in (tmp_path / "processes" / "problem.txt").read_text()
