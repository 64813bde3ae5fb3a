"""An error is a sentence that names the problem, the allowed values and the fix."""

import pickle

import pytest

from clearsight.core.errors import BadChoice, BadValue, ClearsightError, nearest


def test_names_the_allowed_values_and_the_nearest() -> None:
    error = BadChoice("--freeze layer5", "no such stage", got="layer5", allowed=["layer1", "layer2", "layer4"])
    assert str(error) == "--freeze layer5: no such stage. Allowed: layer1, layer2, layer4. Did you mean layer4?"


def test_ends_with_the_fix() -> None:
    assert str(BadValue("lr 0", "must be above 0", fix="Pass --lr 1e-3.")) == "lr 0: must be above 0. Pass --lr 1e-3."


def test_cuts_long_lists_and_counts_very_long_ones() -> None:
    assert " 1,453 names are known. Did you mean name7?" in str(
        BadChoice("m", "no", got="nam7", allowed=[f"name{i}" for i in range(1453)])
    )
    assert "and 86 more" in str(BadChoice("m", "no", allowed=[f"name{i}" for i in range(100)]))


@pytest.mark.parametrize(
    ("got", "allowed", "expected"),
    [
        ("adamm", ["adamw", "adam", "sgd"], "adam"),
        ("ADAM", ["adam"], "adam"),
        ("xyz", ["adam"], None),
        ("a", ["a"], None),
    ],
)
def test_finds_the_nearest_spelling_or_none(got: str, allowed: list[str], expected: str | None) -> None:
    assert nearest(got, allowed) == expected


def test_crosses_process_boundaries_unchanged() -> None:
    error = BadChoice("--x", "no", got="b", allowed=["a", "c"], fix="Do.")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.allowed) == (BadChoice, str(error), error.allowed)
    assert isinstance(again, ClearsightError)
