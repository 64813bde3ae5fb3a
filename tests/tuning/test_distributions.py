"""Optuna draws from exactly the values of a domain, and has nothing to warn of."""

from __future__ import annotations

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from clearsight.core.space import Choice, Domain, FloatRange, IntRange
from clearsight.tuning.distributions import distribution_of


@pytest.mark.parametrize(
    ("domain", "distribution"),
    [
        (FloatRange(low=1e-5, high=0.1, log=True), FloatDistribution(1e-5, 0.1, log=True)),
        (FloatRange(low=0, high=0.5), FloatDistribution(0, 0.5)),
        (FloatRange(low=0, high=0.3, step=0.1), FloatDistribution(0, 0.3, step=0.1)),
        (FloatRange(low=0.05, high=0.9, step=0.1), FloatDistribution(0.05, 0.85, step=0.1)),
        (IntRange(low=5, high=40), IntDistribution(5, 40)),
        (IntRange(low=8, high=512, log=True), IntDistribution(8, 512, log=True)),
        (IntRange(low=5, high=40, step=10), IntDistribution(5, 35, step=10)),
        (Choice(values=("a", 1, None, True)), CategoricalDistribution(("a", 1, None, True))),
    ],
)
def test_a_domain_is_a_distribution(domain: Domain, distribution: BaseDistribution) -> None:
    assert distribution_of(domain) == distribution


@pytest.mark.parametrize("domain", [FloatRange(low=0.05, high=0.9, step=0.1), IntRange(low=5, high=40, step=10)])
def test_every_step_is_among_them(domain: FloatRange | IntRange) -> None:
    distribution = distribution_of(domain)
    assert all(distribution._contains(distribution.to_internal_repr(value)) for value in domain.points(5))
