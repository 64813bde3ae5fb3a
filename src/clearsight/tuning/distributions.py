"""Domains of a space as Optuna's distributions."""

from __future__ import annotations

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from clearsight.core.space import Choice, Domain, IntRange


def distribution_of(domain: Domain) -> BaseDistribution:
    """The distribution that draws from a domain."""
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.values)
    if isinstance(domain, IntRange):
        high = domain.high - (domain.high - domain.low) % domain.step  # Optuna warns of an end that no step reaches
        return IntDistribution(domain.low, high, log=domain.log, step=domain.step)
    last = domain.points(1)[-1] if domain.step is not None else domain.high
    assert isinstance(last, int | float)
    return FloatDistribution(domain.low, last, log=domain.log, step=domain.step)
