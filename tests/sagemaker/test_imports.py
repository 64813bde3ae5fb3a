"""clearsight_sagemaker imports core, workflow, serving and jobs alone, and clearsight does not import it."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src"
DISTRIBUTION = "smdebug_distribution"


def imported(folder: Path) -> set[str]:
    """Return every module that the files of a folder import."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        if DISTRIBUTION in path.parts and folder.name != DISTRIBUTION:
            continue  # it runs in other environments, apart from the package that ships it
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names.add(node.module or "")
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
    return names


def test_it_imports_core_workflow_serving_and_jobs_alone() -> None:
    ours = {name for name in imported(SOURCES / "clearsight_sagemaker") if name.split(".")[0] == "clearsight"}
    # The distribution `smdebug` runs in a training script and watches with the public names of `clearsight` itself.
    packages = {name.split(".")[1] for name in ours if name != "clearsight"}
    assert packages
    assert packages <= {"core", "workflow", "serving", "jobs"}


def test_clearsight_does_not_import_it() -> None:
    assert not [name for name in imported(SOURCES / "clearsight") if name.startswith("clearsight_sagemaker")]


def test_the_distribution_smdebug_knows_the_public_names_of_clearsight_alone() -> None:
    names = imported(SOURCES / "clearsight_sagemaker" / DISTRIBUTION)
    assert "smdebug.trials" in names
    assert {name for name in names if name.startswith("clearsight")} == {"clearsight"}
