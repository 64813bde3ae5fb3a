"""Kernel SHAP: contributions of features to the scores of a model, from scores of coalitions of the features.

M features, S coalitions, C classes. A coalition is the set of features that are shown; the others are hidden.
Source: Lundberg and Lee 2017, "A Unified Approach to Interpreting Model Predictions", section 4.1.
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt


def coalitions(
    features: int, most: int, generator: np.random.Generator
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Return at most `most` different coalitions, (S, M), without the empty and the full one, and their weights, (S,).

    The smallest and the largest coalitions have the largest weights: whole sizes are taken from outside as long as
    there is room; from the other sizes, coalitions are drawn in pairs with their complements.
    features, most: 2 or more.
    """
    sizes = np.arange(1, features)
    weights = (features - 1) / (sizes * (features - sizes))
    weights = weights / weights.sum()
    rows: dict[tuple[int, ...], float] = {}
    low = 1
    while low <= features - low:
        pair = {low, features - low}
        count = sum(comb(features, size) for size in pair)
        rest = weights[low - 1 : features - low]
        share = sum(weights[size - 1] for size in pair) / rest.sum()
        if count > (most - len(rows)) * share + 1e-9:
            break
        for size in sorted(pair):
            for chosen in combinations(range(features), size):
                rows[chosen] = weights[size - 1] / comb(features, size)
        low += 1
    if low <= features - low:
        _draw(rows, features, most, low, weights, generator)
    masks = np.zeros((len(rows), features), dtype=np.bool_)
    for number, chosen in enumerate(rows):
        masks[number, list(chosen)] = True
    return masks, np.array([*rows.values()])


def _draw(
    rows: dict[tuple[int, ...], float],
    features: int,
    most: int,
    low: int,
    weights: npt.NDArray[np.float64],
    generator: np.random.Generator,
) -> None:
    """Add drawn coalitions of the sizes from `low` to M - `low`; all of them have the weight of these sizes."""
    sizes = np.arange(low, features - low + 1)
    chances = weights[low - 1 : features - low]
    counts: dict[tuple[int, ...], int] = {}
    room = most - len(rows)
    for _ in range(8 * room):  # repeated ones count again and need no further score
        if len(counts) + 2 > room:
            break
        size = int(generator.choice(sizes, p=chances / chances.sum()))
        chosen = tuple(sorted(int(feature) for feature in generator.choice(features, size=size, replace=False)))
        others = tuple(feature for feature in range(features) if feature not in chosen)
        for coalition in (chosen, others):
            counts[coalition] = counts.get(coalition, 0) + 1
    total = sum(counts.values())
    for coalition, count in counts.items():
        rows[coalition] = float(chances.sum()) * count / total


def shapley_values(
    masks: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float64],
    hidden: npt.NDArray[np.float64],
    shown: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return the contribution of each feature to each score, (M, C); they add up to `shown` - `hidden` exactly.

    masks: (S, M) coalitions.  weights: (S,).  scores: (S, C) of the coalitions.  hidden, shown: (C,) scores without
    any feature and with all of them.
    """
    features, gain = masks.shape[1], shown - hidden
    if features == 1:
        return gain[None, :]
    # The last contribution is what the others leave of the gain, so that the sum needs no constraint of its own.
    last = masks[:, -1:].astype(np.float64)
    differences = masks[:, :-1] - last
    targets = scores - hidden - last * gain
    roots = np.sqrt(weights)[:, None]
    values = np.linalg.lstsq(differences * roots, targets * roots, rcond=None)[0]
    return np.concatenate([values, (gain - values.sum(axis=0))[None, :]])
