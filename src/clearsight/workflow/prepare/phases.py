"""Phases of a run: which parameters train for how many epochs, on images or on cached features."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn

from clearsight.core.dataset import Dataset
from clearsight.core.errors import BadData, BadValue
from clearsight.data.geometry import scale_shift
from clearsight.data.loader import Loader, LoadPlan
from clearsight.models.freeze import FrozenStages, freeze
from clearsight.models.network import parameter_groups
from clearsight.models.zoo import reset_head
from clearsight.training.batches import FeatureBatches, ImageBatches
from clearsight.training.job import Phase
from clearsight.training.optim import ParameterGroup
from clearsight.workflow.prepare.datasets import train_plan, valid_plan
from clearsight.workflow.prepare.defaults import uncacheable
from clearsight.workflow.prepare.feature_batches import FeatureReader
from clearsight.workflow.prepare.second_phase import reason_against
from clearsight.workflow.prepare.setup import RunSetup, model_spec


def build_phases(setup: RunSetup) -> list[Phase]:
    """Return one phase, or two when the recipe trains the head first; frozen parts are computed once where possible."""
    train, optim, freezing = setup.recipe.train, setup.recipe.optim, setup.recipe.model.resolved_freeze
    stages, cut = setup.network.stages, freeze(setup.network, freezing).cut
    head_only = cut == len(stages)
    phases = []
    head_epochs = min(train.resolved_head_epochs, train.resolved_epochs)
    if head_epochs and not head_only:
        factor = (optim.head_lr or optim.resolved_lr) / optim.resolved_lr
        phases.append(_phase(_head_setup(setup), "head", "backbone", head_epochs, head_factor=factor))
    if rest := train.resolved_epochs - sum(phase.epochs for phase in phases):
        name = "head" if head_only else f"from {stages[cut].name}" if cut else "all"
        # After a phase of its own the head is trained already: the backbone then moves in smaller steps.
        factor = optim.backbone_lr_factor if phases else 1.0
        last = _phase(_second_setup(setup) if phases else setup, name, freezing, rest, backbone_factor=factor)
        if phases and train.reset_head:
            spec = model_spec(setup.recipe, setup.data.classes.names)
            last = replace(last, begin=partial(reset_head, setup.network, spec))
        if phases and train.second_phase == "if_needed":
            decide = partial(reason_against, name, len(setup.train), _largest_share(setup.valid))
            last = replace(last, reason_against=decide, only_clear_gain=True)
        phases.append(last)
    return phases


def _largest_share(dataset: Dataset) -> float:
    """Return the share of the most frequent class among some images; 0 without any."""
    counts = np.bincount(dataset.labels(), minlength=1)
    return float(counts.max() / max(counts.sum(), 1))


def _head_setup(setup: RunSetup) -> RunSetup:
    """Return the set-up of the first phase, without augmentation where `head_augment` is off."""
    if setup.recipe.train.head_augment in (None, True):
        return setup
    return replace(setup, recipe=setup.recipe.replace(augment="none", views=1))


def _second_setup(setup: RunSetup) -> RunSetup:
    """Return the set-up of the second phase, with its own batch size."""
    size = setup.recipe.train.second_batch_size or setup.recipe.train.batch_size
    return replace(setup, recipe=setup.recipe.replace(batch_size=size))


def _phase(
    setup: RunSetup, name: str, freezing: str, epochs: int, *, backbone_factor: float = 1.0, head_factor: float = 1.0
) -> Phase:
    network, frozen = setup.network, freeze(setup.network, freezing)
    cached = not uncacheable(setup.recipe, frozen.cut)
    model: nn.Module = network.suffix(frozen.cut) if cached else network.model
    plan = _without_single_image(setup, frozen)
    # With cached features the model is only what comes behind the cut; the frozen stages never run again.
    train, valid = feature_splits(setup, frozen, plan) if cached else _image_splits(setup, plan)

    def enter() -> Sequence[ParameterGroup]:
        freeze(network, freezing)  # again: another phase may have frozen other stages since
        # Each part is split into weights that decay, and biases and norms.
        parts = ((network.prefix(len(network.stages)), backbone_factor), (network.head, head_factor))
        return [{**group, "lr_factor": factor} for part, factor in parts for group in parameter_groups(part, 1.0)]

    def train_mode() -> None:
        model.train()
        frozen.train_mode()

    return Phase(
        name=name,
        epochs=epochs,
        model=model,
        train=train,
        valid=valid,
        enter=enter,
        train_mode=train_mode,
        cached=cached,
        drops_image=plan.drop_last,
    )


def check_batches(setup: RunSetup) -> None:
    """Raise BadValue or BadData if every training batch has one image and the network cannot train on one."""
    _without_single_image(setup, freeze(setup.network, setup.recipe.model.resolved_freeze))


def _without_single_image(setup: RunSetup, frozen: FrozenStages) -> LoadPlan:
    """Return the plan of the training images, without a last batch of one image if the network cannot train on it.

    A BatchNorm layer that sees one value per channel has no variance to divide by. The image that is left out is
    another one in every epoch, since every epoch has an order of its own.
    Raises BadValue or BadData where every batch has one image.
    """
    plan = train_plan(setup.recipe, setup.world)
    images, size = -(-len(setup.train) // plan.world), plan.batch_size  # -(-a // b) rounds up: shares are padded
    if (size > 1 and images % size != 1) or _trains_on_one(setup, frozen):
        return plan
    problem = "BatchNorm cannot train on one image at a time, which leaves it one value per channel"
    if images == 1:
        share = " for each process" if plan.world > 1 else ""
        raise BadData(setup.data.path, f"there is one training image{share}, and {problem}", fix="Add images.")
    if size == 1:
        fix = "Use --batch-size 2 or more, or --freeze backbone."
        raise BadValue("--batch-size 1", problem, fix=fix)
    return replace(plan, drop_last=True)


def _trains_on_one(setup: RunSetup, frozen: FrozenStages) -> bool:
    """Return True if one image passes through the network in training mode; the network itself does not change."""
    setup.network.model.train()
    frozen.train_mode()
    twin, size = copy.deepcopy(setup.network.model), setup.network.preprocess.size  # statistics change in a pass
    try:
        with torch.no_grad():
            twin(torch.zeros(1, 3, size, size, device=setup.placement.device))
    except ValueError:  # of BatchNorm: "Expected more than 1 value per channel when training"
        return False
    return True


def feature_splits(
    setup: RunSetup, frozen: FrozenStages, plan: LoadPlan | None = None
) -> tuple[FeatureBatches, FeatureBatches | None]:
    """Return training and validation features behind the frozen stages, from the cache or computed now.

    plan: of the training images; that of the recipe by default.
    """
    recipe, world = setup.recipe, setup.world
    plan = plan or train_plan(recipe, world)
    reader = FeatureReader(setup.network, frozen.cut, setup.placement, world, setup.paths.cache / "features")
    train = reader.batches(setup.train, plan, recipe.train.views, setup.progress)
    if not len(setup.valid):
        return train, None
    return train, reader.batches(setup.valid, valid_plan(recipe, world), 1, setup.progress)


def _image_splits(setup: RunSetup, plan: LoadPlan) -> tuple[ImageBatches, ImageBatches | None]:
    preprocess, device, layout = setup.network.preprocess, setup.placement.device, setup.placement.memory_format
    scale = scale_shift(preprocess)
    loader = Loader(setup.train, preprocess, plan, setup.load_times)
    train = ImageBatches(loader, scale, device, layout, setup.stopwatch)
    if not len(setup.valid):
        return train, None
    # Not timed: a profile has validation as one span, not image by image.
    loader = Loader(setup.valid, preprocess, valid_plan(setup.recipe, setup.world))
    return train, ImageBatches(loader, scale, device, layout)
