"""An assignment reaches a worker as it was given, and an executor is let go of whatever happens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.executor import Assignment, ExecutorEvent, TrialTask, closing
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
    told=st.booleans(),
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


class Closed:
    """An executor of which only the end is looked at."""

    slots, closed = 1, 0

    def start(self, assignment: Assignment) -> None: ...

    def answer(self, number: int, epoch: int, stop: str) -> None: ...

    def interrupt(self) -> None: ...

    def events(self, seconds: float) -> list[ExecutorEvent]:
        return []

    def close(self) -> None:
        self.closed += 1


def test_is_closed_where_the_block_ends_and_where_it_fails() -> None:
    executor = Closed()
    with closing(executor) as held:
        assert held is executor
        assert executor.closed == 0
    assert executor.closed == 1
    with pytest.raises(KeyError), closing(executor):
        raise KeyError
    assert executor.closed == 2
