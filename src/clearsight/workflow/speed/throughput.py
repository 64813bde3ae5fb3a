"""Rehearsing: settings of a run put side by side by training a few steps with each of them."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clearsight.core.dataset import Dataset
from clearsight.data.load_times import LoadTimes
from clearsight.data.loader import epoch_order
from clearsight.training.checkpoint import Checkpoints
from clearsight.training.device import place
from clearsight.training.job import Phase, TrainingJob
from clearsight.training.stop import StopSignal
from clearsight.training.throughput import ThroughputSample, ThroughputTrial
from clearsight.workflow.prepare.datasets import quiet
from clearsight.workflow.prepare.phases import build_phases
from clearsight.workflow.prepare.setup import RunSetup

_WARM_UP = 2  # steps: the first one sets up kernels and waits for the first batch
_BATCHES = 6  # of the largest size, in the stretch of images that is gone round


@dataclass(kw_only=True)
class Candidate:
    """Settings and how fast they were, block by block. note: why they could not be tried, or ""."""

    settings: Mapping[str, Any]
    blocks: list[ThroughputSample] = field(default_factory=list)
    note: str = ""

    @property
    def images_per_second(self) -> float:
        """The median over the blocks; 0 where it could not be tried."""
        return float(np.median([block.images_per_second for block in self.blocks])) if self.blocks else 0.0

    @property
    def spread(self) -> float:
        """Half of what lies between the slowest and the fastest block, as a share of the median."""
        if len(self.blocks) < 2:
            return 0.0
        rates = [block.images_per_second for block in self.blocks]
        return (max(rates) - min(rates)) / 2 / self.images_per_second

    @property
    def waiting(self) -> float:
        """Share of the time in which batches were waited for."""
        seconds = sum(block.seconds for block in self.blocks)
        return sum(block.waited for block in self.blocks) / seconds if seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "settings": dict(self.settings),
            "images_per_second": self.images_per_second if self.blocks else None,
            "spread": self.spread if len(self.blocks) > 1 else None,
            "waiting": self.waiting if self.blocks else None,
            "steps": sum(block.steps for block in self.blocks),
            "note": self.note,
        }


class ThroughputComparison:
    """A stage on which candidates take turns: blocks of steps, one candidate after the other, round by round.

    Turns even out what else goes on on the machine: a slow minute slows every candidate. All train a copy of the
    network on the same few hundred images.
    """

    def __init__(self, setting: RunSetup, *, largest: int) -> None:
        network = copy.deepcopy(setting.network)
        self._setting = replace(
            setting, network=network, data=_some(setting, _BATCHES * largest), progress=quiet, load_times=LoadTimes()
        )
        self._phases: dict[int, tuple[RunSetup, Phase]] = {}
        self._threads = torch.get_num_threads()

    def round(self, candidates: Sequence[Candidate], steps: int, seconds: float = 0.0) -> None:
        """One more block of each candidate that can be tried."""
        try:
            for candidate in candidates:
                if not candidate.note:
                    self._block(candidate, steps, seconds)
        finally:
            torch.set_num_threads(self._threads)

    def _block(self, candidate: Candidate, steps: int, seconds: float) -> None:
        fresh = id(candidate) not in self._phases
        if fresh:
            changed = settings_applied(self._setting, candidate.settings)
            self._phases[id(candidate)] = changed, build_phases(changed)[-1]
        setting, phase = self._phases[id(candidate)]
        torch.set_num_threads(setting.placement.threads)
        setting.network.model.to(memory_format=setting.placement.memory_format)
        rehearsal = ThroughputTrial(_job(setting, phase), phase)
        try:
            if fresh and setting.recipe.data.keep_pixels:
                rehearsal.load()
            rehearsal.steps(_WARM_UP if fresh else 1)
            candidate.blocks.append(rehearsal.steps(steps, seconds))
        except torch.OutOfMemoryError:
            candidate.note = "it does not fit into the GPU's memory"
            torch.cuda.empty_cache()
        finally:
            rehearsal.close()


def settings_applied(setting: RunSetup, settings: Mapping[str, Any]) -> RunSetup:
    """The setting of a run with other recipe fields, and where that puts it on this machine."""
    recipe = setting.recipe.replace(**settings)
    return replace(setting, recipe=recipe, placement=place(recipe.train, setting.world))


def _some(setting: RunSetup, count: int) -> Dataset:
    """The dataset with as many training images, evenly over what an epoch shows; a whole number of batches."""
    train = setting.train
    size = setting.recipe.train.batch_size
    wanted = min(count, max(size, len(train) // size * size))
    order = epoch_order(np.zeros(len(train), np.int64), "shuffled", seed=0, epoch=1)[:wanted]
    kept = {train.samples[i].id for i in order}
    return setting.data.only(lambda sample: sample.split == "train" and sample.id in kept)


def _job(setting: RunSetup, phase: Phase) -> TrainingJob:
    return TrainingJob(
        network=setting.network.model,
        phases=[phase],
        recipe=setting.recipe,
        checkpoints=Checkpoints(Path(tempfile.gettempdir())),  # a rehearsal writes none
        observers=[],
        stop=StopSignal(),
        world=setting.world,
        device=setting.placement.device,
        precision=setting.placement.precision,
    )
