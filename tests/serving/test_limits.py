"""Limits."""

from __future__ import annotations

import pytest

from clearsight.core.errors import BadValue
from clearsight.serving.limits import Limits


@pytest.mark.parametrize("name", ["body_bytes", "held_bytes", "body_seconds", "pictures"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_is_positive(name: str, value: float) -> None:
    with pytest.raises(BadValue, match=name):
        Limits(**{name: value})


def test_one_body_must_fit_into_what_may_be_held() -> None:
    with pytest.raises(BadValue, match="at least body_bytes"):
        Limits(body_bytes=10, held_bytes=9)
