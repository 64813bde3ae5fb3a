"""An assignment reaches a worker as it was given."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.executor import Assignment, TrialTask
from clearsight.core.recipe import Recipe

_settings = st.dictionaries(
    st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=5)
)
_tasks = st.builds(TrialTask, number=st.integers(0, 999), folder=st.text(max_size=9), recipe=_settings)


@given(
    key=st.integers(0),
    tasks=st.lists(_tasks, max_size=3).map(tuple),
    data=st.text(max_size=9),
    metrics=st.lists(st.sampled_from(["accuracy", "loss"]), max_size=2).map(tuple),
    prunable=st.booleans(),
    deliver=st.booleans(),
)
def test_an_assignment_comes_back_as_it_was_sent(**facts: Any) -> None:
    given_out = Assignment(**facts)
    assert Assignment.from_json(json.loads(json.dumps(given_out.to_json()))) == given_out


def test_a_recipe_travels_in_a_task() -> None:
    recipe = Recipe().replace(lr=0.1 + 0.2, head=[512, 256], mean=(0.1, 0.2, 0.3))
    sent = Assignment(key=1, tasks=(TrialTask(number=0, folder="/t", recipe=recipe.flat()),), data="/d", metrics=())
    (task,) = Assignment.from_json(json.loads(json.dumps(sent.to_json()))).tasks
    assert Recipe.parse(task.recipe) == recipe
