"""Facts go to JSON and come back equal."""

from __future__ import annotations

import json

from clearsight.core.context import LayerInfo, ParameterInfo, RunContext

FACTS = RunContext(
    steps=49,
    classes=("a", "b"),
    class_counts=(3, 4),
    pretrained=True,
    weights_mean=(0.5, 0.5, 0.5),
    duplicates={"valid": 2},
    layers=(LayerInfo(name="conv", kind="conv", type="Conv2d"),),
    parameters=(
        ParameterInfo(name="conv.weight", layer="conv", shape=(8, 3), kind="weight", trainable=True, optimized=False),
    ),
    settings={"lr": 0.1, "rule": ["Overfit"]},
)


def test_they_come_back_equal() -> None:
    assert RunContext.from_json(json.loads(json.dumps(FACTS.to_json()))) == FACTS


def test_what_a_newer_version_wrote_is_left_out() -> None:
    assert RunContext.from_json({**FACTS.to_json(), "weather": "fine"}) == FACTS


def test_nothing_known_is_a_valid_answer() -> None:
    assert RunContext.from_json({}) == RunContext()
