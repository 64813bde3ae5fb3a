"""RunPlan of a run: what it is about to do and about how long that takes, shown before the first step."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence

import numpy as np
import torch

from clearsight.core.dataset import Dataset
from clearsight.core.events import RunPlan
from clearsight.core.preprocess import Preprocess
from clearsight.core.recipe import ProfileSection, Recipe
from clearsight.training.device import autocast
from clearsight.training.job import Phase
from clearsight.workflow.prepare.datasets import loader_workers
from clearsight.workflow.prepare.defaults import uncacheable
from clearsight.workflow.prepare.feature_batches import feature_batches
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.debugging import planned_steps, save_plan

_IMAGES = 4  # enough to be past fixed costs, few enough not to be noticed
_FORWARD_SHARE = 1 / 3  # of a training step: the backward pass costs about twice the forward pass


def make_plan(setup: RunSetup, phases: Sequence[Phase], notes: Sequence[str] = ()) -> RunPlan:
    """Return the plan of a run whose phases are built. notes: added to those about the data."""
    recipe, data, network = setup.recipe, setup.data, setup.network
    counts = np.bincount(setup.train.labels(), minlength=len(data.classes))
    present = counts[counts > 0]  # a class without images would make the ratio infinite
    seconds = run_seconds(setup, phases)
    phases[-1].enter()  # which parameters are trainable depends on the phase
    parameters = list(network.model.parameters())
    steps = planned_steps(phases, recipe.optim.accumulate)
    saved = save_plan(recipe, steps)
    return RunPlan(
        model=network.name,
        weights=network.weights.partition(";")[0],  # mean and std follow; they stand in the line of the input
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        classes=len(data.classes),
        images={split: sum(per_class.values()) for split, per_class in data.counts().items()},
        imbalance=float(present.max() / present.min()),
        preprocess=_preprocess_line(network.preprocess),
        device=setup.placement.describe(),
        precision=setup.placement.precision,
        batch_size=recipe.train.batch_size * setup.world.size,
        workers=loader_workers(recipe.data),
        epochs=recipe.train.resolved_epochs,
        steps=steps,
        lr=recipe.optim.resolved_lr,
        seconds=seconds,
        cached=", ".join(phase.name for phase in phases if phase.cached),
        notes=(
            *(notice.text for notice in data.notices),
            *_freeze_notes(recipe, len(network.stages)),
            *_data_notes(data, setup.small_images, network.preprocess.size),
            *notes,
        ),
        measured=_profile_line(recipe.profile),
        saved=tuple(saved.lines) if saved is not None else (),
    )


def _preprocess_line(p: Preprocess) -> str:
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (p.mean, p.std))
    return f"{p.size} px ({p.interpolation}, short side {p.resize}), mean {mean}, std {std} ({p.source})"


def _profile_line(section: ProfileSection) -> str:
    if section.profile == "off":
        return ""
    traced = ", and a few steps operator by operator" if section.profile == "full" else ""
    return f"the machine every {section.profile_every:g} s, the phases of every step{traced}"


def _freeze_notes(recipe: Recipe, stages: int) -> list[str]:
    if recipe.model.freeze == "none":
        return []
    notes = []
    if recipe.model.weights == "none":
        notes.append("The frozen part has random weights: its features are random projections. Pass --weights.")
    if reason := uncacheable(recipe, stages):
        notes.append(f"The frozen part is computed in every epoch: {reason}.")
    return notes


def _data_notes(data: Dataset, small: int, size: int) -> list[str]:
    notes, train = [], len(data.split("train"))
    if small:
        notes.append(
            f"{small:,} of {train:,} training images are smaller than the network's input of {size} px: enlarging adds "
            "no detail, so expect lower accuracy than on larger images."
        )
    if not len(data.split("valid")):
        notes.append("There is no validation split: the last epoch is kept, and no score tells if it is the best.")
    return notes


def run_seconds(setup: RunSetup, phases: Sequence[Phase]) -> float:
    """Return the seconds of training and validation to expect of a run.

    Of phases on features that is the time of computing what the cache lacks: their steps take next to none.
    """
    # The ranks share the images.
    train, valid = len(setup.train) / setup.world.size, len(setup.valid) / setup.world.size
    total = 0.0
    for phase in phases:
        if phase.cached:
            total += sum(batches.seconds_to_read() for batches in feature_batches([phase]))
            continue
        phase.enter()
        phase.train_mode()
        total += phase.epochs * _seconds_per_image(setup) * (train + _FORWARD_SHARE * valid)
    return total


def _seconds_per_image(setup: RunSetup) -> float:
    """Time one training step of a copy: BatchNorm's statistics change in a step."""
    twin, size, placement = copy.deepcopy(setup.network.model), setup.network.preprocess.size, setup.placement
    images = torch.zeros(_IMAGES, 3, size, size, device=placement.device)
    images = images.contiguous(memory_format=placement.memory_format)

    def step() -> None:
        with autocast(placement.device, placement.precision):
            loss = twin(images).float().square().sum()
        loss.backward()
        if placement.device.type == "cuda":
            torch.cuda.synchronize(placement.device)

    step()  # the first step sets up kernels and is not timed
    start = time.perf_counter()
    step()
    return (time.perf_counter() - start) / _IMAGES
