"""A study in a shared storage is joined with the same objectives and choices."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.errors import BadValue
from clearsight.core.space import Choice, Dimension, FloatRange, Space
from clearsight.core.trial import Objective
from clearsight.testing.searchers import MIXED, new_store, propose
from clearsight.tuning.searchers.random import Random
from clearsight.tuning.storage.optuna_storage import file_url
from clearsight.tuning.storage.shared_study import check_storage


def test_other_objectives_or_choices_are_refused(tmp_path: Path) -> None:
    url = file_url(tmp_path / "shared.db")
    with new_store(tmp_path / "a", Random(), MIXED, storage=url) as store:
        propose(store)
        plan = store.study.plan
    check_storage(plan, "a")
    check_storage(plan.replace(objectives=(Objective("loss", "minimize"),)), "another name")
    with pytest.raises(
        BadValue, match=r"shared\.db a: that study optimizes accuracy \(maximized\)\. Pass the same, or"
    ):
        check_storage(plan.replace(objectives=(Objective("macro_f1", "maximize"),)), "a")
    with pytest.raises(BadValue, match="that study optimizes accuracy"):
        check_storage(plan.replace(objectives=(*plan.objectives, Objective("loss", "minimize"))), "a")
    more = Space((Dimension(name="optimizer", domain=Choice(values=("adamw", "sgd", "adam"))),))
    with pytest.raises(BadValue, match="that study varies optimizer over CategoricalDistribution"):
        check_storage(plan.replace(space=more), "a")
    wider = Space((Dimension(name="lr", domain=FloatRange(low=1e-6, high=1.0, log=True)),))
    check_storage(plan.replace(space=wider), "a")
