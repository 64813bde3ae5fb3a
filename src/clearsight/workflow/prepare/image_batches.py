"""Batches of images: the loader of `clearsight.data`, wrapped for the training loop."""

from __future__ import annotations

from clearsight.core.dataset import Dataset
from clearsight.core.preprocess import PRESETS, Augment, Preprocess
from clearsight.core.recipe import Recipe
from clearsight.data.geometry import scale_shift
from clearsight.data.loader import Loader, LoadPlan, LoadTimes, Order
from clearsight.training.batches import ImageBatches
from clearsight.training.device import Placement
from clearsight.training.distributed import World
from clearsight.training.protocols import Stopwatch
from clearsight.workflow.prepare.datasets import loader_workers


def image_batches(
    dataset: Dataset,
    preprocess: Preprocess,
    plan: LoadPlan,
    placement: Placement,
    *,
    times: LoadTimes | None = None,
    stopwatch: Stopwatch | None = None,
) -> ImageBatches:
    """Return the batches of a split. times, stopwatch: where the time of loading is added up, None for nowhere."""
    loader = Loader(dataset, preprocess, plan, times)
    return ImageBatches(loader, scale_shift(preprocess), placement.device, placement.memory_format, stopwatch)


def train_plan(recipe: Recipe, world: World) -> LoadPlan:
    """Return how training images are drawn: augmented, and shuffled or balanced by class."""
    # Both orders draw as many images as there are, so that an epoch has the same number of steps.
    order: Order = "balanced" if recipe.data.sampling == "balanced" else "shuffled"
    return _load_plan(recipe, world, PRESETS[recipe.data.augment], order)


def valid_plan(recipe: Recipe, world: World) -> LoadPlan:
    """Return how images are drawn for evaluation: as they are, in order."""
    return _load_plan(recipe, world, Augment(), "sequential")


def _load_plan(recipe: Recipe, world: World, augment: Augment, order: Order) -> LoadPlan:
    return LoadPlan(
        batch_size=recipe.train.batch_size,
        augment=augment,
        order=order,
        seed=recipe.train.seed,
        workers=loader_workers(recipe.data),
        max_pixels=recipe.data.max_pixels,
        rank=world.rank,
        world=world.size,
        memory_bytes=memory_for_pixels(world) if recipe.data.keep_pixels else 0,  # 0 keeps nothing
    )


def memory_for_pixels(world: World) -> int:
    """Return the bytes that a process may use to keep decoded images: its share of a quarter of the free memory.

    The other three quarters stay free for activations, for the page cache, and for whatever else runs here.
    """
    import psutil

    return int(psutil.virtual_memory().available // 4 // world.size)
