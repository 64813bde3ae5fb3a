"""Two models on the same pictures: is one of them really better?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from clearsight.core.errors import BadValue


def mcnemar(first_alone: int, second_alone: int) -> float:
    """Exact two-sided p-value in [0, 1] of "both are right equally often", from the pictures on which they differ.

    first_alone, second_alone: pictures that only the one or only the other got right; both 0 give 1.
    Raises BadValue for a negative count.
    Source: McNemar 1947, "Note on the sampling error of the difference between correlated proportions or percentages",
    as a binomial test of the differing pictures, which holds for few of them too.
    """
    if first_alone < 0 or second_alone < 0:
        raise BadValue(f"{first_alone} and {second_alone}", "counts of pictures are not negative")
    total, fewer = first_alone + second_alone, min(first_alone, second_alone)
    whole = math.lgamma(total + 1) - total * math.log(2)
    tail = math.fsum(
        math.exp(whole - math.lgamma(hits + 1) - math.lgamma(total - hits + 1)) for hits in range(fewer + 1)
    )
    return min(1.0, 2 * tail)


def holm(values: Sequence[float]) -> list[float]:
    """p-values that may be read side by side: whoever compares often is fooled by chance more often.

    values: p-values in [0, 1], in any order, which is kept.
    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
    """
    adjusted, least = [1.0] * len(values), 0.0
    for place, index in enumerate(sorted(range(len(values)), key=lambda index: values[index])):
        least = max(least, min(1.0, (len(values) - place) * values[index]))
        adjusted[index] = least
    return adjusted
