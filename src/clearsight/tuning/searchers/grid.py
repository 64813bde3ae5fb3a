"""Grid: every combination of values once, in order; a range without steps has five values."""

from __future__ import annotations

import itertools

from clearsight.core.errors import BadValue
from clearsight.core.space import Space
from clearsight.tuning.samplers import FixedSampler

_MOST = 100_000  # combinations; counting more would take seconds, and no study tries so many


class Grid:
    """Exhaustive search. The last setting varies first; a conditional setting varies only where its condition holds."""

    pruner = "none"

    def sampler(self, space: Space, seed: int, number: int) -> FixedSampler:
        # Two machines that ask for the last combination at once get a number beyond it: such numbers start again at 0.
        return FixedSampler(next(itertools.islice(itertools.cycle(space.grid()), number, None)))

    def size(self, space: Space) -> int | None:
        """Return the number of combinations; raises BadValue for more than a hundred thousand."""
        count = sum(1 for _ in itertools.islice(space.grid(), _MOST + 1))
        if count > _MOST:
            raise BadValue("--search grid", f"there are more than {_MOST:,} combinations", fix="Use tpe or random.")
        return count
