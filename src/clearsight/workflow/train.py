"""train: from a dataset and a recipe to a finished run; and resume, to continue one that was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.launch import launch_run, resume_run


def train(
    data: str | Path,
    *,
    out: str | Path,
    recipe: Recipe | str | Path | None = None,
    launch: LaunchContext | None = None,
    **settings: Any,
) -> Run:
    """Train on the dataset at `data` into the new run folder `out`; return the run, whose status says how it ended.

    recipe: a Recipe or a YAML file.  settings: recipe fields by name, which override it (`lr=1e-3, epochs=5`).
    Mistakes of the user are raised as ClearsightError before a run folder exists.
    """
    base = Recipe.load(Path(recipe)) if isinstance(recipe, str | Path) else recipe or Recipe()
    overridden = base.replace(**settings) if settings else base
    unset = unset_fields(base) - settings.keys()  # a default that was passed is a choice: --auto-tune keeps it
    return launch_run(Path(data), Path(out), overridden, launch or LaunchContext(), unset)


def unset_fields(recipe: Recipe) -> frozenset[str]:
    """Return the fields of a recipe that are at their default."""
    defaults = Recipe().flat()
    return frozenset(name for name, value in recipe.flat().items() if value == defaults[name])


def resume(path: str | Path, *, launch: LaunchContext | None = None, time_limit: float | None = None) -> Run:
    """Continue an interrupted run; a finished one only gets its model and scores again.

    Raises NotResumable when the data or the weights are not those that the run began with.
    """
    return resume_run(Path(path), launch or LaunchContext(), time_limit)
