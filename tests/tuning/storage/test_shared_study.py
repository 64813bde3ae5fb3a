"""Who joins a study in a shared storage asks the same of it as those who began it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clearsight.core.errors import BadValue
from clearsight.core.space import Choice, Dimension, FloatRange, Space
from clearsight.core.trial import Objective
from clearsight.testing.searchers import MIXED, proposed, record
from clearsight.tuning.searchers.random import Random
from clearsight.tuning.storage.optuna_storage import file_url
from clearsight.tuning.storage.shared_study import check_storage


def test_a_shared_study_is_joined_with_its_own_aims_and_choices(tmp_path: Path) -> None:
    url = file_url(tmp_path / "shared.db")
    with record(tmp_path / "a", Random(), MIXED, storage=url) as ledger:
        proposed(ledger)
        plan = ledger.study.plan
    check_storage(plan, "a")
    check_storage(replace(plan, objectives=(Objective("loss", "minimize"),)), "another name")
    with pytest.raises(BadValue, match=r"shared\.db a: that study aims at accuracy \(maximized\)\. Say the same, or"):
        check_storage(replace(plan, objectives=(Objective("macro_f1", "maximize"),)), "a")
    with pytest.raises(BadValue, match="that study aims at accuracy"):
        check_storage(replace(plan, objectives=(*plan.objectives, Objective("loss", "minimize"))), "a")
    more = Space((Dimension(name="optimizer", domain=Choice(values=("adamw", "sgd", "adam"))),))
    with pytest.raises(BadValue, match="that study has optimizer as CategoricalDistribution"):
        check_storage(replace(plan, space=more), "a")
    wider = Space((Dimension(name="lr", domain=FloatRange(low=1e-6, high=1.0, log=True)),))
    check_storage(replace(plan, space=wider), "a")
