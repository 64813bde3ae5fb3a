"""Importing is cheap, and what must not know torch does not."""

from __future__ import annotations

import subprocess
import sys

import pytest


def loaded_by(code: str) -> set[str]:
    """Top-level modules that are loaded after running `code` in a fresh interpreter."""
    probe = f"{code}\nimport sys; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_import_clearsight_loads_nothing_heavy() -> None:
    assert not loaded_by("import clearsight") & {"torch", "numpy", "pydantic", "typer", "rich", "PIL"}


def test_help_loads_no_command() -> None:
    code = "from clearsight.cli import main; main(['--help'])"
    assert not loaded_by(code) & {"torch", "numpy", "pydantic", "typer", "rich"}


@pytest.mark.parametrize(
    "module",
    [
        "clearsight.workflow.serve",
        "clearsight.workflow.predict",
        "clearsight.workflow.transform.transform",
        "clearsight.workflow.evaluate",
        "clearsight.workflow.audit",
        "clearsight.workflow.tune",
        "clearsight.workflow.open",
        "clearsight.cli.commands.tune",
        "clearsight.cli.commands.serve",
        "clearsight.cli.commands.predict",
        "clearsight.cli.commands.transform",
        "clearsight.cli.commands.train",
    ],
)
def test_what_serves_and_reads_runs_without_torch(module: str) -> None:
    assert "torch" not in loaded_by(f"import {module}")


def test_the_public_names_resolve() -> None:
    import clearsight

    for name in clearsight.__all__:
        assert getattr(clearsight, name) is not None
    assert set(clearsight.__all__) <= set(dir(clearsight))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = clearsight.trian  # type: ignore[attr-defined]
