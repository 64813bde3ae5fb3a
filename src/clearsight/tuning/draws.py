"""Random numbers of a study as functions: what a proposal draws follows from (seed, number) alone."""

from __future__ import annotations

import numpy as np


def trial_seed(seed: int, number: int) -> int:
    """A seed in [0, 2**32) for proposal `number` of a study; different ones are independent of each other.

    Source: numpy.random.SeedSequence, which hashes its entropy so that neighbouring numbers give unlike streams.
    """
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
