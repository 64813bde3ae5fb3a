"""A point that somebody has chosen is proposed as it is."""

from __future__ import annotations

import optuna

from clearsight.core.space import Choice, FloatRange
from clearsight.tuning.distributions import distribution_of
from clearsight.tuning.given import FixedSampler


def test_proposes_the_point() -> None:
    study = optuna.create_study(sampler=FixedSampler({"lr": 0.25, "optimizer": "sgd"}))
    for _ in range(3):  # also where there are trials to learn from
        asked = study.ask()
        assert asked._suggest("optimizer", distribution_of(Choice(values=("adamw", "sgd")))) == "sgd"
        assert asked._suggest("lr", distribution_of(FloatRange(low=0, high=1))) == 0.25
        study.tell(asked, 1.0)
