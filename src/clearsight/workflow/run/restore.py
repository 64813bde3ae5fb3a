"""Network of a run that is continued: from its checkpoints alone, so that its weights file may be gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clearsight.core.errors import NotResumable
from clearsight.core.files import sha256
from clearsight.core.preprocess import Preprocess
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.models.network import Network
from clearsight.training.checkpoint import Checkpoints, load_into, under
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.setup import build_network


def weights_facts(network: Network, preprocess: Preprocess) -> dict[str, Any]:
    """Return what run.json records of the weights that a run starts from.

    preprocess: what the weights expect, before the settings of the recipe change it.
    """
    file = network.weights_file
    return {
        "origin": network.weights,
        "file": file,
        "sha256": sha256(Path(file)) if file else "",
        "has_head": bool(network.saved_head),  # of the same classes
        "preprocess": preprocess.model_dump(mode="json"),
    }


def rebuild_network(
    run: Run, recipe: Recipe, classes: Sequence[str], paths: Paths, folder: Path | None = None
) -> Network:
    """Return the network of a run as it was at its newest checkpoint, from its checkpoints alone.

    After the first checkpoint the weights file has no influence any more, so it may be gone or have changed. Before
    it the run starts again from the file: raises NotFound if it is gone, NotResumable if it has changed.
    folder: of the checkpoints; by default those of the run.
    """
    checkpoints = Checkpoints(folder or run.checkpoints)
    if not run.weights or not checkpoints.newest.is_file():  # without `weights`: a run of an earlier version
        network = build_network(recipe, classes, paths)
        _check_unchanged(run, network)
        return network
    network = build_network(recipe.replace(weights="none"), classes, paths)
    if checkpoints.frozen.is_file():
        load_into(network.model, checkpoints.read(checkpoints.frozen)[0])
    # The trained part too: what a later phase trains is the frozen part of a phase before it, which has its features.
    load_into(network.model, under(checkpoints.read(checkpoints.newest)[0], "model/"))
    preprocess = Preprocess.model_validate(run.weights["preprocess"])
    return replace(network, preprocess=preprocess, weights=run.weights["origin"])


def resume_notes(run: Run, epochs_before: int) -> list[str]:
    """Return what the plan of a continued run says about where it goes on. epochs_before: what it had planned."""
    checkpoints, metrics, epochs = Checkpoints(run.checkpoints), run.files.metrics(), run.recipe.train.resolved_epochs
    if not checkpoints.newest.is_file():
        begun = metrics.is_file() and metrics.stat().st_size > 0
        return ["The run has no checkpoint yet: its training starts at the first step again."] if begun else []
    if epochs == epochs_before:
        return []
    schedule = run.recipe.optim.resolved_schedule
    return [
        f"The run has {epochs} epochs now and had {epochs_before}: from epoch {checkpoints.epoch()} on, the learning "
        f"rate is that of a {schedule} schedule over {epochs} epochs, so it may begin above the last one."
    ]


def _check_unchanged(run: Run, network: Network) -> None:
    """Raise NotResumable if the weights file is not the one that the run began with."""
    recorded, file = run.weights.get("sha256"), network.weights_file
    if recorded and (not file or sha256(Path(file)) != recorded):
        problem = f"the run has no checkpoint yet, and {file or 'its weights'} is not the file that it began with"
        raise NotResumable(str(run.path), problem, fix="Put the file back, or start a new run.")
