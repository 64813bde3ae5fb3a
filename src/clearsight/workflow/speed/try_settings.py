"""try_settings: other settings for an existing run, each measured by training a few dozen steps with it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.context import RunContext
from clearsight.core.errors import BadValue
from clearsight.core.machine import cores
from clearsight.core.profile_folder import read_profile
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.profiler.analysis.what_if import what_if
from clearsight.training.device import Placement
from clearsight.workflow.prepare.datasets import loader_workers
from clearsight.workflow.prepare.defaults import plain_settings
from clearsight.workflow.prepare.phases import build_phases
from clearsight.workflow.run.checks import check_resume
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.execute import make_setup, run_process
from clearsight.workflow.run.rules import only_trusted
from clearsight.workflow.speed.throughput import Candidate, ThroughputComparison

_ROUNDS = 3  # of blocks in which the candidates take turns: a median needs three


@dataclass(frozen=True, kw_only=True)
class TriedSettings:
    """Measured speeds of a run's settings. rows: the run's own settings first, then the others, fastest first.

    estimates: images/s that the run's profile predicts for some of the changes; aligned with rows, None for the others.
    """

    rows: Sequence[Candidate]
    estimates: Sequence[float | None]

    def to_json(self) -> dict[str, Any]:
        """Return what `clearsight profile --try RUN --json` prints."""
        unchanged = self.rows[0].images_per_second
        return {
            "rows": [
                {
                    **row.to_json(),
                    "gain": row.images_per_second / unchanged - 1 if row.blocks and unchanged else None,
                    "estimate": estimate,
                }
                for row, estimate in zip(self.rows, self.estimates, strict=True)
            ]
        }


def try_settings(path: str | Path, *, steps: int = 24, launch: LaunchContext | None = None) -> TriedSettings:
    """Measure other loader workers, threads, layout, precision, batch size and image memory for the run at `path`.

    steps: optimizer steps of each candidate, in three blocks that take turns. Nothing in the run folder changes.
    Raises NotFound if the run's data no longer exist, BadValue if it trains on cached features.
    """
    launch, run = launch or LaunchContext(), Run.open(Path(path))
    source = check_resume(run, None)
    run.recipe = only_trusted(run.recipe, launch.trusted, run.files.recipe)
    with run_process(run.recipe, launch.world) as placement:
        setup = make_setup(source, run.recipe, placement, launch, run)
        if build_phases(setup)[-1].cached:
            raise BadValue(
                str(path),
                "the run trains on cached features, so no setting changes its speed",
                fix="Choose a run that trains more than the head.",
            )
        candidates = [Candidate(settings=change) for change in single_changes(setup.recipe, placement)]
        comparison = ThroughputComparison(setup, largest=2 * setup.recipe.train.batch_size)
        for number in range(_ROUNDS):
            for place, candidate in enumerate(candidates):
                launch.progress("trying settings", number * len(candidates) + place, _ROUNDS * len(candidates))
                comparison.round([candidate], max(1, steps // _ROUNDS))
    launch.progress("trying settings", 1, 1)
    unchanged, *others = candidates
    rows = [unchanged, *sorted(others, key=lambda candidate: -candidate.images_per_second)]
    predicted = _predicted(run)
    return TriedSettings(rows=rows, estimates=[predicted.get(_key(row.settings)) for row in rows])


def _predicted(run: Run) -> dict[Hashable, float]:
    """Return the images/s that the run's profile predicts, by the change of settings."""
    context = RunContext(batch_size=run.recipe.train.batch_size, settings=plain_settings(run.recipe))
    estimates = what_if(read_profile(run.files.profile), context)
    return {_key(estimate.change): estimate.images_per_second_then for estimate in estimates}


def single_changes(recipe: Recipe, placement: Placement) -> list[dict[str, Any]]:
    """Return no change first, then one changed setting at a time."""
    available, workers = cores(), loader_workers(recipe.data)
    precision = {"fp32": "bf16", "bf16": "fp32", "fp16": "bf16"}[placement.precision]
    layout = "off" if recipe.train.channels_last != "off" else "on"
    changes: list[dict[str, Any]] = [
        {"workers": count} for count in (0, available, min(2 * available, 16)) if count != workers
    ]
    if placement.device.type == "cpu":  # on a GPU the host's threads only launch kernels
        changes += [{"threads": count} for count in (max(1, available // 2), available) if count != placement.threads]
    changes += [{"channels_last": layout}, {"precision": precision}]
    changes += [{"batch_size": 2 * recipe.train.batch_size}, {"keep_pixels": not recipe.data.keep_pixels}]
    return [{}, *{_key(change): change for change in changes}.values()]  # on few cores two counts may be equal


def _key(settings: Mapping[str, Any]) -> Hashable:
    """Return a key under which equal settings meet, whether their values are numbers or text."""
    return tuple(sorted((name, str(value)) for name, value in settings.items()))
