"""The plan: what a run is about to do, said before the first step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clearsight.core.events import RunPlan
from clearsight.training.job import Phase
from clearsight.workflow.prepare.cacheable import uncacheable
from clearsight.workflow.prepare.datasets import loader_workers
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.debugging import planned_steps, save_plan
from clearsight.workflow.run.estimate import estimate
from clearsight.workflow.run.profiling import measured_line


def make_plan(setting: RunSetup, phases: Sequence[Phase], notes: Sequence[str] = ()) -> RunPlan:
    """The plan of a run whose phases are built. notes: told beside those of the data."""
    how, data, network = setting.recipe, setting.data, setting.network
    counts = np.bincount(setting.train.labels(), minlength=len(data.classes))
    present = counts[counts > 0]
    seconds = estimate(setting, phases)
    phases[-1].enter()
    parameters = list(network.model.parameters())
    return RunPlan(
        model=network.name,
        weights=network.weights.partition(";")[0],  # the rest, mean and std, stands in the line of the input
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        classes=len(data.classes),
        images={split: sum(per_class.values()) for split, per_class in data.counts().items()},
        imbalance=float(present.max() / present.min()),
        preprocess=_preprocess(setting),
        device=setting.placement.describe(),
        precision=setting.placement.precision,
        batch_size=how.train.batch_size * setting.world.size,
        workers=loader_workers(how.data),
        epochs=how.train.passes,
        steps=planned_steps(setting, phases),
        lr=how.optim.peak,
        seconds=seconds,
        cached=", ".join(phase.name for phase in phases if phase.cached),
        notes=(*_notes(setting), *notes),
        measured=measured_line(setting),
        saved=() if (kept := save_plan(setting, phases)) is None else tuple(kept.lines),
    )


def _preprocess(setting: RunSetup) -> str:
    p = setting.network.preprocess
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (p.mean, p.std))
    return f"{p.size} px ({p.interpolation}, short side {p.resize}), mean {mean}, std {std} ({p.source})"


def _notes(setting: RunSetup) -> list[str]:
    how, network = setting.recipe, setting.network
    notes = [notice.text for notice in setting.data.notices]
    if how.model.weights == "none" and how.model.freeze != "none":
        notes.append("The frozen part has random weights: it can only project images at random. Pass --weights.")
    if how.model.freeze != "none" and (reason := uncacheable(how, len(network.stages))):
        notes.append(f"The frozen part runs in every epoch: {reason}.")
    if setting.small:
        share = f"{setting.small:,} of {len(setting.train):,} training images"
        size = f"the {network.preprocess.size} px that the network takes"
        notes.append(
            f"{share} are smaller than {size}: enlarging them adds no detail, so expect less than on larger ones."
        )
    if not len(setting.valid):
        notes.append("There is no validation split: the last epoch is kept, and nothing says whether it is the best.")
    return notes
