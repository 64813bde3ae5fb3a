"""ThroughputComparison: settings of a run compared by training a few steps with each of them."""

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
from clearsight.data.loader import LoadTimes, epoch_order
from clearsight.training.checkpoint import Checkpoints
from clearsight.training.device import place
from clearsight.training.job import Phase, TrainingJob
from clearsight.training.stop import StopSignal
from clearsight.training.throughput import ThroughputSample, ThroughputTrial
from clearsight.workflow.prepare.datasets import quiet
from clearsight.workflow.prepare.phases import build_phases
from clearsight.workflow.prepare.setup import RunSetup

_WARM_UP = 2  # steps: the first one sets up kernels and waits for the first batch
_BATCHES = 6  # of the largest size, in the images that the trials repeat: a few hundred, to fit into memory


@dataclass(kw_only=True)
class Candidate:
    """Settings and how fast they were, block by block. note: why they could not be measured, or ""."""

    settings: Mapping[str, Any]
    blocks: list[ThroughputSample] = field(default_factory=list)
    note: str = ""

    @property
    def images_per_second(self) -> float:
        """The median over the blocks; 0 if it could not be measured."""
        return float(np.median([block.images_per_second for block in self.blocks])) if self.blocks else 0.0

    @property
    def spread(self) -> float:
        """Half of the range from the slowest to the fastest block, as a share of the median."""
        if len(self.blocks) < 2:
            return 0.0
        speeds = [block.images_per_second for block in self.blocks]
        return (max(speeds) - min(speeds)) / 2 / self.images_per_second

    @property
    def wait_share(self) -> float:
        """Share of the time spent waiting for batches, in [0, 1]."""
        seconds = sum(block.seconds for block in self.blocks)
        return sum(block.wait_seconds for block in self.blocks) / seconds if seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "settings": dict(self.settings),
            "images_per_second": self.images_per_second if self.blocks else None,
            "spread": self.spread if len(self.blocks) > 1 else None,
            "waiting": self.wait_share if self.blocks else None,
            "steps": sum(block.steps for block in self.blocks),
            "note": self.note,
        }


class ThroughputComparison:
    """Lets candidates take turns: blocks of steps, one candidate after the other, round by round.

    Turns even out other load on the machine: a slow minute slows every candidate. All candidates train the same copy of
    the network on the same few hundred images.
    """

    def __init__(self, setup: RunSetup, *, largest: int) -> None:
        """largest: batch size of the candidates at most."""
        self._setup = replace(
            setup,
            network=copy.deepcopy(setup.network),
            data=_subset(setup.data, setup.recipe.train.batch_size, _BATCHES * largest),
            progress=quiet,
            load_times=LoadTimes(),
        )
        # By identity: candidates are mutable, and two with equal settings are measured apart.
        self._phases: dict[int, tuple[RunSetup, Phase]] = {}
        self._threads = torch.get_num_threads()

    def round(self, candidates: Sequence[Candidate], steps: int, seconds: float = 0.0) -> None:
        """Measure another block of each candidate that fits into memory: `steps` steps, and `seconds`, at least."""
        try:
            for candidate in candidates:
                if not candidate.note:
                    self._block(candidate, steps, seconds)
        finally:
            torch.set_num_threads(self._threads)

    def _block(self, candidate: Candidate, steps: int, seconds: float) -> None:
        is_new = id(candidate) not in self._phases
        if is_new:
            changed = with_settings(self._setup, candidate.settings)
            self._phases[id(candidate)] = changed, build_phases(changed)[-1]
        setup, phase = self._phases[id(candidate)]
        torch.set_num_threads(setup.placement.threads)
        setup.network.model.to(memory_format=setup.placement.memory_format)
        trial = ThroughputTrial(_job(setup, phase), phase)
        try:
            if is_new and setup.recipe.data.keep_pixels:
                trial.load()
            # Not measured: the candidate before left its own layout of the weights and its own data in the caches.
            trial.steps(_WARM_UP if is_new else 1)
            candidate.blocks.append(trial.steps(steps, seconds))
        except torch.OutOfMemoryError:
            candidate.note = "it does not fit into the GPU's memory"
            torch.cuda.empty_cache()
        finally:
            trial.close()


def with_settings(setup: RunSetup, settings: Mapping[str, Any]) -> RunSetup:
    """Return the set-up of a run with other recipe fields, and with the placement that follows from them."""
    recipe = setup.recipe.replace(**settings)
    return replace(setup, recipe=recipe, placement=place(recipe.train, setup.world))


def _subset(data: Dataset, batch_size: int, count: int) -> Dataset:
    """Return the dataset with about `count` training images, drawn as an epoch draws them, in whole batches."""
    train = data.split("train")
    images = min(count, max(batch_size, len(train) // batch_size * batch_size))
    order = epoch_order(np.zeros(len(train), np.int64), "shuffled", seed=0, epoch=1)[:images]
    ids = {train.samples[i].id for i in order}
    return data.only(lambda sample: sample.split == "train" and sample.id in ids)


def _job(setup: RunSetup, phase: Phase) -> TrainingJob:
    return TrainingJob(
        network=setup.network.model,
        phases=[phase],
        recipe=setup.recipe,
        checkpoints=Checkpoints(Path(tempfile.gettempdir())),  # required by a job; a throughput trial writes none
        observers=[],
        stop=StopSignal(),
        world=setup.world,
        device=setup.placement.device,
        precision=setup.placement.precision,
    )
