"""RunPlan of a run: what it is about to do and about how long that takes, shown before the first step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clearsight.core.dataset import Dataset
from clearsight.core.events import RunPlan
from clearsight.core.format import duration, several
from clearsight.core.preprocess import Preprocess
from clearsight.core.recipe import ProfileSection, Recipe
from clearsight.training.job import Phase
from clearsight.workflow.prepare.auto_freeze import FEW_IMAGES, FORWARD_SHARE, FreezeChoice, FreezeReason
from clearsight.workflow.prepare.datasets import loader_workers
from clearsight.workflow.prepare.defaults import HEAD_EPOCHS, uncacheable
from clearsight.workflow.prepare.feature_batches import feature_batches
from clearsight.workflow.prepare.second_phase import ENOUGH_ERRORS
from clearsight.workflow.prepare.setup import RunSetup, step_seconds
from clearsight.workflow.run.debugging import planned_steps, save_plan

_DROPPED = (
    "BatchNorm cannot train on the last batch of an epoch, which has one image: it is left out, a different one in "
    "each epoch."
)


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
            *([_DROPPED] if any(phase.drops_image for phase in phases) else []),
            *notes,
        ),
        measured=_profile_line(recipe.profile),
        default=default_line(setup.choice) if setup.choice is not None else "",
        saved=tuple(saved.lines) if saved is not None else (),
    )


def default_line(choice: FreezeChoice) -> str:
    """Return what `--freeze auto` came to, why, and how long it and the other choice take."""
    train = choice.recipe.train
    took, other = _about(choice.seconds), _about(choice.other_seconds)
    if choice.reason is FreezeReason.RANDOM_WEIGHTS:
        return "the whole network is trained, since its weights are random"
    if choice.reason in (FreezeReason.FINE_TUNE, FreezeReason.IF_NEEDED):
        whole = several(train.resolved_epochs - train.resolved_head_epochs, "epoch")
        first = f"the head for {several(train.resolved_head_epochs, 'epoch')}, then the whole network for {whole}"
        if choice.reason is FreezeReason.FINE_TUNE:
            return f"{first}: {took}; --freeze backbone takes {other}"
        return (
            f"{first} if the head leaves {ENOUGH_ERRORS} errors or more to learn from: {other}, or {took} with the "
            "whole network, which is used if it gains more than a standard error"
        )
    if choice.reason is FreezeReason.FEW_IMAGES:
        return (
            f"the head alone, since fewer than {FEW_IMAGES:,} training images are too few to train the rest: "
            f"{took}; with the rest {other} (--head-epochs {HEAD_EPOCHS})"
        )
    if choice.reason is FreezeReason.ONE_EPOCH:
        return f"the head alone, since there is one epoch: {took}; --freeze none trains the whole network"
    limit = f"over the limit of {duration(choice.limit)}"
    return (
        f"the head alone: {took}; the whole network after it would take {other}, {limit}. "
        f"To train it anyway, add --head-epochs {HEAD_EPOCHS}"
    )


def _about(seconds: float) -> str:
    return f"about {duration(max(seconds, 1.0))}"


def _preprocess_line(p: Preprocess) -> str:
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (p.mean, p.std))
    values = "" if p.value_range is None else ", values {:g} to {:g}".format(*p.value_range)
    return f"{p.size} px ({p.interpolation}, short side {p.resize}){values}, mean {mean}, std {std} ({p.source})"


def _profile_line(section: ProfileSection) -> str:
    if section.profile == "off":
        return ""
    traced = ", and a few steps operator by operator" if section.profile == "full" else ""
    return f"the machine every {section.profile_every:g} s, the phases of every step{traced}"


def _freeze_notes(recipe: Recipe, stages: int) -> list[str]:
    if recipe.model.resolved_freeze == "none":
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
        total += phase.epochs * step_seconds(setup.network, setup.placement) * (train + FORWARD_SHARE * valid)
    return total
