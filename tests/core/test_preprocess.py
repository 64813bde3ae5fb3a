"""Preprocessing is data that cannot say something impossible."""

import pytest
from pydantic import ValidationError

from clearsight.core.preprocess import PRESETS, Augment, Preprocess


def test_round_trips_through_json() -> None:
    one = Preprocess(size=224, resize=256, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), source="weights")
    assert Preprocess.model_validate_json(one.model_dump_json()) == one


@pytest.mark.parametrize("wrong", [{"size": 256, "resize": 224}, {"size": 4, "resize": 8}, {"std": (0.0, 1.0, 1.0)}])
def test_impossible_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Preprocess.model_validate({"size": 224, "resize": 256, **wrong})


def test_only_the_preset_none_changes_nothing() -> None:
    assert [name for name, preset in PRESETS.items() if not preset.random] == ["none"]
    assert Augment(operations=1).random
