"""What surrounds a run without deciding what it computes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from clearsight.core.events import Observer
from clearsight.training.distributed import World
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import Progress, quiet


def _go_on() -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class LaunchContext:
    """What is not part of a recipe: who watches, where caches lie, which process of how many this is, who asked.

    visible: the GPUs that this process may use, as CUDA_VISIBLE_DEVICES says them; None for all.
    halt: asked between steps why to stop now; "" to go on.
    ending: what becomes of a training that is over: a model with scores and a report, or, in a study, the weights and
    validation scores alone until it turns out to be the best.
    """

    observers: Sequence[Observer] = ()
    places: Paths | None = None
    world: World = World()  # noqa: RUF009 - a frozen value
    progress: Progress = quiet
    command: Sequence[str] = ()
    visible: Sequence[str] | None = None
    halt: Callable[[], str] = _go_on
    ending: Literal["deliver", "put by"] = "deliver"
    began: float = field(default_factory=time.monotonic)

    @property
    def kept(self) -> Paths:
        """The places that were said, or the user's own."""
        return self.places or Paths.of({})
