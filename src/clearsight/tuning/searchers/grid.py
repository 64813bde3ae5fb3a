"""Grid: every combination once, in order; a range without steps gives five values."""

from __future__ import annotations

import itertools

from clearsight.core.errors import BadValue
from clearsight.core.space import Space
from clearsight.tuning.samplers import FixedSampler

_MOST = 100_000


class Grid:
    """Exhaustive search. The last field varies first; a field with a condition is varied only where it applies."""

    pruner = "none"

    def sampler(self, space: Space, seed: int, number: int) -> FixedSampler:
        # Two machines that both ask for the last point get numbers beyond it: those begin again.
        return FixedSampler(next(itertools.islice(itertools.cycle(space.grid()), number, None)))

    def size(self, space: Space) -> int | None:
        """The number of combinations; raises BadValue for more than a hundred thousand."""
        count = sum(1 for _ in itertools.islice(space.grid(), _MOST + 1))
        if count > _MOST:
            raise BadValue("--search grid", f"there are more than {_MOST:,} combinations", fix="Use tpe or random.")
        return count
