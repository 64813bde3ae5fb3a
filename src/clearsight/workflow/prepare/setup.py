"""RunSetup: a run that is ready to begin: its network, its data, its recipe, and where it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from clearsight.core.dataset import Dataset
from clearsight.core.preprocess import Preprocess
from clearsight.core.recipe import Recipe
from clearsight.data.loader import LoadTimes
from clearsight.models.network import Network
from clearsight.training.device import Placement
from clearsight.training.distributed import World
from clearsight.training.protocols import NullStopwatch, Stopwatch
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import Progress


@dataclass(frozen=True, kw_only=True)
class RunSetup:
    """Values that the phases of a run have in common. Functions that use two or three of them take those alone.

    weights_preprocess: what the weights expect, before the recipe's settings change it.
    small_images: training images whose shorter side is below the network's input.
    load_times: of the training images.  duplicates: split -> its images that are in an earlier split too.
    """

    network: Network
    recipe: Recipe
    data: Dataset
    placement: Placement
    world: World
    paths: Paths
    progress: Progress  # quiet on all ranks but the first
    weights_preprocess: Preprocess
    small_images: int = 0
    stopwatch: Stopwatch = field(default_factory=NullStopwatch)
    load_times: LoadTimes = field(default_factory=LoadTimes)
    duplicates: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def train(self) -> Dataset:
        """The training split."""
        return self.data.split("train")

    @cached_property
    def valid(self) -> Dataset:
        """The validation split, which may be empty."""
        return self.data.split("valid")
