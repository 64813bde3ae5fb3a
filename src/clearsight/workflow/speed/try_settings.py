"""try: other settings for a run that there is, each measured by training a few dozen steps with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.context import RunContext
from clearsight.core.errors import BadValue, NotFound
from clearsight.core.machine import cores
from clearsight.core.profile_folder import read_profile
from clearsight.core.run import Run
from clearsight.profiler.analysis.what_if import what_if
from clearsight.workflow.prepare.datasets import loader_workers
from clearsight.workflow.prepare.phases import build_phases
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.debugging import plain_settings
from clearsight.workflow.run.execute import make_setup, run_process
from clearsight.workflow.speed.throughput import Candidate, ThroughputComparison

_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class TriedSettings:
    """What was measured of a run's settings. rows: the run's own settings first, then the others, fastest first.

    estimates: images/s that the profile of the run foretold for some of the changes, aligned with rows, None for none.
    """

    rows: Sequence[Candidate]
    estimates: Sequence[float | None]

    def to_json(self) -> dict[str, Any]:
        """The shape of `clearsight profile --try RUN --json`."""
        own = self.rows[0].images_per_second
        return {
            "rows": [
                {
                    **row.to_json(),
                    "gain": row.images_per_second / own - 1 if row.blocks and own else None,
                    "estimate": estimate,
                }
                for row, estimate in zip(self.rows, self.estimates, strict=True)
            ]
        }


def try_settings(path: str | Path, *, steps: int = 24, around: LaunchContext | None = None) -> TriedSettings:
    """Measure other readers, threads, layout, precision, batch size and image memory for the run in folder `path`.

    steps: optimizer steps of each candidate, in three blocks that take turns.  Nothing in the run folder changes.
    Raises NotFound where the run's data are gone, BadValue where its features are cached and no step takes time.
    """
    around, run = around or LaunchContext(), Run.open(Path(path))
    source = Path(run.data["path"])
    if not source.exists():
        raise NotFound(str(source), "the data of this run are no longer there")
    with run_process(run.recipe, around.world) as placement:
        setting = make_setup(source, run.recipe, placement, around)
        if build_phases(setting)[-1].cached:
            raise BadValue(
                str(path), "its steps run on cached features and take no time", fix="Try it on a run that trains more."
            )
        candidates = [Candidate(settings=one) for one in changes(setting)]
        stage = ThroughputComparison(setting, largest=2 * setting.recipe.train.batch_size)
        for number in range(_ROUNDS):
            for place, candidate in enumerate(candidates):
                around.progress("trying settings", number * len(candidates) + place, _ROUNDS * len(candidates))
                stage.round([candidate], max(1, steps // _ROUNDS))
    around.progress("trying settings", 1, 1)
    own, *others = candidates
    rows = [own, *sorted(others, key=lambda one: -one.images_per_second)]
    known = RunContext(batch_size=run.recipe.train.batch_size, settings=plain_settings(run.recipe))
    foretold = {
        _key(one.change): one.images_per_second_then for one in what_if(read_profile(run.path / "profile"), known)
    }
    return TriedSettings(rows=rows, estimates=[foretold.get(_key(row.settings)) for row in rows])


def changes(setting: RunSetup) -> list[dict[str, Any]]:
    """One setting changed at a time, the run's own settings first."""
    how, have, placement = setting.recipe, cores(), setting.placement
    readers, own = loader_workers(how.data), {"fp32": "bf16", "bf16": "fp32", "fp16": "bf16"}
    layout = "off" if how.train.channels_last != "off" else "on"
    wanted: list[dict[str, Any]] = [{"workers": count} for count in (0, have, min(2 * have, 16)) if count != readers]
    if placement.device.type == "cpu":
        wanted += [{"threads": count} for count in (max(1, have // 2), have) if count != placement.threads]
    wanted += [{"channels_last": layout}, {"precision": own[placement.precision]}]
    wanted += [{"batch_size": 2 * how.train.batch_size}, {"keep_pixels": not how.data.keep_pixels}]
    return [{}, *{_key(one): one for one in wanted}.values()]


def _key(settings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, str(value)) for name, value in settings.items()))
