"""What every part of a run is given: the network, the data, the recipe, and where it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from clearsight.core.dataset import Dataset
from clearsight.core.preprocess import PRESETS, Augment, Preprocess
from clearsight.core.recipe import Recipe
from clearsight.data.load_times import LoadTimes
from clearsight.models.network import Network
from clearsight.training.device import Placement
from clearsight.training.distributed import World
from clearsight.training.protocols import NullStopwatch, Stopwatch
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import Progress


@dataclass(frozen=True, kw_only=True)
class RunSetup:
    """What every phase of a run has in common."""

    network: Network
    recipe: Recipe
    data: Dataset
    placement: Placement
    world: World
    places: Paths
    progress: Progress
    own_preprocess: Preprocess  # that of the weights, before the recipe's own settings
    small: int = 0  # training images whose shorter side is below the network's input
    stopwatch: Stopwatch = field(default_factory=NullStopwatch)
    load_times: LoadTimes = field(default_factory=LoadTimes)  # of the training images
    duplicates: Mapping[str, int] = field(default_factory=dict)  # split: its images that are in an earlier one too

    @cached_property
    def train(self) -> Dataset:
        """The training split."""
        return self.data.split("train")

    @cached_property
    def valid(self) -> Dataset:
        """The validation split, which may be empty."""
        return self.data.split("valid")

    @property
    def augment(self) -> Augment:
        """The recipe's augmentation preset."""
        return PRESETS[self.recipe.data.augment]
