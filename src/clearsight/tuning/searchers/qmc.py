"""QuasiRandom: points that fill the space more evenly than random ones."""

from __future__ import annotations

import math

import numpy as np

from clearsight.core.space import Choice, Domain, FloatRange, IntRange, Space, Value
from clearsight.tuning.samplers import FixedSampler


class QuasiRandom:
    """Scrambled Sobol points: point `number` of one sequence, so a study that goes on later goes on filling the gaps.

    Fields that apply only sometimes have a coordinate of their own. Sources: Sobol 1967; Owen 1998, "Scrambling Sobol'
    and Niederreiter-Xing Points", for the scrambling; Bousquet et al. 2017, "Critical Hyper-Parameters".
    """

    pruner = "median"

    def sampler(self, space: Space, seed: int, number: int) -> FixedSampler:
        from scipy.stats import qmc

        sequence = qmc.Sobol(len(space.dimensions), scramble=True, rng=np.random.default_rng(seed))
        if number:
            sequence.fast_forward(number)
        place = sequence.random(1)[0]
        point: dict[str, Value] = {}
        for dimension, share in zip(space.dimensions, place, strict=True):
            if dimension.name not in point and dimension.applies(point):
                point[dimension.name] = _at(dimension.domain, float(share))
        return FixedSampler(point)

    def size(self, space: Space) -> int | None:
        return None


def _at(domain: Domain, share: float) -> Value:
    """The value at `share` in [0, 1) of a domain."""
    if isinstance(domain, Choice):
        return domain.values[int(share * len(domain.values))]
    if isinstance(domain, IntRange) and not domain.log:
        return domain.low + domain.step * int(share * ((domain.high - domain.low) // domain.step + 1))
    if isinstance(domain, IntRange):
        # Half a step more at both ends, so that the first and the last number are as likely as their size says.
        low, high = math.log(domain.low - 0.5), math.log(domain.high + 0.5)
        return min(domain.high, max(domain.low, round(math.exp(low + share * (high - low)))))
    if isinstance(domain, FloatRange) and domain.step is not None:
        steps = domain.points(1)
        return steps[int(share * len(steps))]
    if domain.log:
        return min(float(domain.high), float(domain.low * (domain.high / domain.low) ** share))
    return domain.low + share * (domain.high - domain.low)
