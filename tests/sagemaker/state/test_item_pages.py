"""Pages of items in memory hold every item once, also where the list grows between two pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.state.item_pages import page_of_items

VALUES = st.lists(st.one_of(st.integers(0, 3).map(float)), max_size=12)


@given(VALUES, VALUES, st.integers(1, 5), st.booleans())
def test_pages_hold_every_item_once_in_order(
    values: list[float], later: list[float], limit: int, descending: bool
) -> None:
    items, found, token = list(enumerate(values)), list[tuple[int, float]](), ""
    while True:
        page, token = page_of_items(
            items, lambda item: (item[1], item[0]), descending=descending, limit=limit, token=token
        )
        assert len(page) <= limit
        found += page
        items += [(len(items) + place, value) for place, value in enumerate(later)]
        later = []
        if not token:
            break
    assert len({number for number, _ in found}) == len(found)
    assert {number for number, _ in found} >= set(range(len(values)))
    keys = [(value, number) for number, value in found]
    assert keys == sorted(keys, reverse=descending)


@pytest.mark.parametrize("token", ["x", "WzFd", "W10=", "bnVsbA==", "WzEsMl0=", "WyJhIiwiYiJd"])
def test_a_token_of_another_list(token: str) -> None:
    with pytest.raises(ServiceError, match="not one that this service returned"):
        page_of_items(["a", "b"], lambda item: (item, 1), descending=False, limit=1, token=token)
