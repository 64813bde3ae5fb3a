"""The profiler of a run: the recording of this process, and the facts about its machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from clearsight.core.preprocess import PRESETS, Preprocess
from clearsight.core.profile import Machine
from clearsight.core.recipe import Recipe
from clearsight.profiler.machine_info import machine_info
from clearsight.profiler.recording import Recording, RecordingOptions
from clearsight.training.device import Placement
from clearsight.training.distributed import World
from clearsight.workflow.prepare.datasets import loader_workers, memory_for_pixels
from clearsight.workflow.prepare.defaults import steps_per_epoch
from clearsight.workflow.prepare.setup import RunSetup

# Pixels kept of an image that will be augmented, relative to the input: images of 4 : 3, kept 1.5 times as large as the
# input so that random crops have detail to show.
_AUGMENTED = 4 / 3 * 1.5**2


def build_recording(
    folder: Path, setup: RunSetup, *, visible: Sequence[str] | None, last_step: int, started: float
) -> Recording | None:
    """Return the recording of this rank into `folder`, not yet started; None where profiling is off.

    visible: the GPUs that the process may use, None for all.  last_step: of the checkpoint that the run resumes from.
    started: time.monotonic() at the start of the command or of the call.
    """
    recipe, world = setup.recipe, setup.world
    if recipe.profile.profile == "off":
        return None
    images = len(setup.train) / world.size
    options = RecordingOptions(
        every=recipe.profile.profile_every,
        full=recipe.profile.profile == "full",
        # As far as steps are known before the batches are built.
        planned_steps=recipe.train.resolved_epochs * steps_per_epoch(recipe, len(setup.train), world.size),
        last_step=last_step,
        visible=visible,
    )
    machine = run_machine(recipe, setup.placement, world, setup.network.preprocess, images, visible)
    # Not the start of the process: that of a notebook, or of a worker with many trials, may be hours ago.
    machine = replace(machine, launched=time.time() - (time.monotonic() - started))
    return Recording(folder, machine, options, rank=world.rank, loads=setup.load_times.sums)


def run_machine(
    recipe: Recipe,
    placement: Placement,
    world: World,
    preprocess: Preprocess,
    images: float,
    visible: Sequence[str] | None = None,
) -> Machine:
    """Return what the run has of the machine and how it uses it.

    images: training images of this process.  visible: the GPUs that the process may use, None for all.
    """
    workers, cuda = loader_workers(recipe.data), placement.device.type == "cuda"
    found = machine_info(visible=visible)
    return replace(
        found,
        threads=torch.get_num_threads(),
        workers=workers,
        reading="threads" if workers else "here",
        device=placement.device.type,
        gpus=found.gpus if cuda else 0,  # idle GPUs of a run on the CPU are no finding
        name=torch.cuda.get_device_name(placement.device) if cuda else "",
        precision=placement.precision,
        channels_last=placement.memory_format == torch.channels_last,
        pixels_kept=recipe.data.keep_pixels and decoded_bytes(recipe, preprocess, images) <= memory_for_pixels(world),
        batch_size=recipe.train.batch_size,
        batch_bytes=recipe.train.batch_size * preprocess.size * preprocess.size * 3,  # bytes: batches travel as uint8
        interval=recipe.profile.profile_every,
        ranks=world.size,
    )


def decoded_bytes(recipe: Recipe, preprocess: Preprocess, images: float) -> float:
    """Return about how many bytes so many training images take as they are kept in memory."""
    augmented = PRESETS[recipe.data.resolved_augment].random
    pixels = preprocess.resize**2 * _AUGMENTED if augmented else preprocess.size**2
    return 3 * pixels * images
