"""QuasiRandom: values that fill the space more evenly than random ones."""

from __future__ import annotations

import math

import numpy as np

from clearsight.core.space import Choice, Domain, FloatRange, IntRange, Space, Value
from clearsight.tuning.samplers import FixedSampler, UnlimitedSearcher


class QuasiRandom(UnlimitedSearcher):
    """Scrambled Sobol points: a trial takes the point of its number, so that later trials fill the gaps of others.

    Conditional settings have a coordinate of their own. Sources: Sobol 1967; Owen 1998, "Scrambling Sobol'
    and Niederreiter-Xing Points", for the scrambling; Bousquet et al. 2017, "Critical Hyper-Parameters".
    """

    def sampler(self, space: Space, seed: int, number: int) -> FixedSampler:
        from scipy.stats import qmc

        sequence = qmc.Sobol(len(space.dimensions), scramble=True, rng=np.random.default_rng(seed))
        if number:
            sequence.fast_forward(number)
        point = sequence.random(1)[0]  # (D,) in [0, 1)
        params: dict[str, Value] = {}
        for dimension, coordinate in zip(space.dimensions, point, strict=True):
            if dimension.name not in params and dimension.applies(params):
                params[dimension.name] = _value_at(dimension.domain, float(coordinate))
        return FixedSampler(params)


def _value_at(domain: Domain, share: float) -> Value:
    """Return the value at `share` in [0, 1) of a domain."""
    if isinstance(domain, Choice):
        return domain.values[int(share * len(domain.values))]
    if isinstance(domain, IntRange) and not domain.log:
        return domain.low + domain.step * int(share * ((domain.high - domain.low) // domain.step + 1))
    if isinstance(domain, IntRange):
        # Half a step more at both ends: rounding would make the first and the last number half as likely otherwise.
        low, high = math.log(domain.low - 0.5), math.log(domain.high + 0.5)
        return min(domain.high, max(domain.low, round(math.exp(low + share * (high - low)))))
    if isinstance(domain, FloatRange) and domain.step is not None:
        steps = domain.grid_values(1)
        return steps[int(share * len(steps))]
    if domain.log:
        return min(float(domain.high), float(domain.low * (domain.high / domain.low) ** share))
    return domain.low + share * (domain.high - domain.low)
