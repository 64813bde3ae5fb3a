"""The profiler of a run: what it measures, on what, and where that goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from clearsight.core.profile import Machine
from clearsight.core.run import Run
from clearsight.profiler.machine_info import machine_info
from clearsight.profiler.recording import Recording
from clearsight.training.checkpoint import Checkpoints
from clearsight.workflow.prepare.datasets import loader_workers
from clearsight.workflow.prepare.image_batches import memory_for_pixels
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.context import LaunchContext

_AUGMENTED = 4 / 3 * 1.5**2  # pixels kept of an image that is to be augmented, in those of the input: 4 : 3 and spare


def build_recording(run: Run, setting: RunSetup, around: LaunchContext, checkpoints: Checkpoints) -> Recording | None:
    """What measures this rank of a run, not yet started; None where that is switched off."""
    how = setting.recipe.profile
    if how.profile == "off":
        return None
    return Recording(
        run.path / "profile",
        machine_of(setting, around.visible),
        every=how.profile_every,
        rank=setting.world.rank,
        cuda=setting.placement.device.type == "cuda",
        full=how.profile == "full",
        planned_steps=_steps(setting),
        last_step=checkpoints.last_step(),
        loads=setting.load_times.sums,
        visible=around.visible,
    )


def machine_of(setting: RunSetup, visible: Sequence[str] | None = None) -> Machine:
    """What the run has, and how it is set up. visible: the GPUs that it may use, None for all."""
    how, placement, readers = setting.recipe, setting.placement, loader_workers(setting.recipe.data)
    cuda = placement.device.type == "cuda"
    side, batch = setting.network.preprocess.size, how.train.batch_size
    found = machine_info(visible=visible)
    return replace(
        found,
        threads=torch.get_num_threads(),
        workers=readers,
        reading="threads" if readers else "here",
        device=placement.device.type,
        gpus=found.gpus if cuda else 0,
        name=torch.cuda.get_device_name(placement.device) if cuda else "",
        precision=placement.precision,
        channels_last=placement.memory_format == torch.channels_last,
        pixels_kept=how.data.keep_pixels and decoded_bytes(setting) <= memory_for_pixels(setting.world),
        batch_size=batch,
        batch_bytes=batch * side * side * 3,
        interval=how.profile.profile_every,
        ranks=setting.world.size,
    )


def decoded_bytes(setting: RunSetup) -> float:
    """About what all training images of this rank take in memory as they are kept."""
    preprocess = setting.network.preprocess
    kept = preprocess.resize**2 * _AUGMENTED if setting.augment.random else preprocess.size**2
    return 3 * kept * len(setting.train) / setting.world.size


def _steps(setting: RunSetup) -> int:
    """Optimizer steps planned, as far as it can be said before the batches are built."""
    how = setting.recipe
    each = -(-len(setting.train) // (how.train.batch_size * setting.world.size))
    return how.train.passes * -(-each // how.optim.accumulate)


def measured_line(setting: RunSetup) -> str:
    """What is measured, in words; "" where nothing is."""
    how = setting.recipe.profile
    if how.profile == "off":
        return ""
    traced = ", and a few steps operator by operator" if how.profile == "full" else ""
    return f"the machine every {how.profile_every:g} s, the phases of every step{traced}"
