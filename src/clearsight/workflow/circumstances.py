"""What surrounds a run without deciding what it computes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from clearsight.core.run import Observer
from clearsight.training.world import World
from clearsight.workflow.opening import Progress, quiet
from clearsight.workflow.places import Places


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What is not part of a recipe: who watches, where caches lie, which process of how many this is, who asked.

    visible: the GPUs that this process may use, as CUDA_VISIBLE_DEVICES says them; None for all.
    """

    observers: Sequence[Observer] = ()
    places: Places | None = None
    world: World = World()  # noqa: RUF009 - a frozen value
    progress: Progress = quiet
    command: Sequence[str] = ()
    visible: Sequence[str] | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def kept(self) -> Places:
        """The places that were said, or the user's own."""
        return self.places or Places.of({})
