"""Batches of images: the data room's loader, made into what the training loop takes."""

from __future__ import annotations

from clearsight.core.dataset import Dataset
from clearsight.core.preprocess import Augment
from clearsight.data.geometry import scale_shift
from clearsight.data.loader import Loader, LoadPlan, Order
from clearsight.training.batches import Batches, ImageBatches
from clearsight.training.distributed import World
from clearsight.workflow.prepare.datasets import loader_workers
from clearsight.workflow.prepare.setup import RunSetup


def image_batches(setting: RunSetup, dataset: Dataset, mode: str) -> Batches:
    """Batches of images, augmented and shuffled for training, in order for evaluation."""
    training = mode == "train"  # what validation costs is told as a whole
    shift = scale_shift(setting.network.preprocess)
    times = setting.load_times if training else None
    loader = Loader(dataset, setting.network.preprocess, load_plan(setting, mode), times)
    watch = setting.stopwatch if training else None
    return ImageBatches(loader, shift, setting.placement.device, setting.placement.memory_format, watch)


def load_plan(setting: RunSetup, mode: str) -> LoadPlan:
    """How images of a split are drawn in mode "train" or "eval"."""
    how = setting.recipe
    training = mode == "train"
    shuffle: Order = "balanced" if how.data.sampling == "balanced" else "shuffled"
    return LoadPlan(
        batch_size=how.train.batch_size,
        augment=setting.augment if training else Augment(),
        order=shuffle if training else "sequential",
        seed=how.train.seed,
        workers=loader_workers(how.data),
        max_pixels=how.data.max_pixels,
        rank=setting.world.rank,
        world=setting.world.size,
        memory_bytes=memory_for_pixels(setting.world) if how.data.keep_pixels else 0,
    )


def memory_for_pixels(world: World) -> int:
    """A quarter of the memory that is free now, over the processes of this job."""
    import psutil

    return int(psutil.virtual_memory().available // 4 // world.size)
