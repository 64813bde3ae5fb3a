"""Pages of items that are no rows of the table: of a list that is in memory."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from clearsight_sagemaker.protocols.errors import validation_error

Item = TypeVar("Item")
Key = tuple[str | float, int]


def page_of_items(
    items: Sequence[Item], key: Callable[[Item], Key], *, descending: bool, limit: int, token: str
) -> tuple[list[Item], str]:
    """Return a page of items in the order of a key, and the token of the next page, "" for the last.

    key: value to sort by, and a number that no other item has. The place of a page is a key, so that items which change
    between two pages move no others. Raises ServiceError for a token that this function did not return.
    """
    ordered = sorted(items, key=key, reverse=descending)
    if token:
        place = _read_token(token)
        try:
            ordered = [item for item in ordered if (key(item) < place if descending else key(item) > place)]
        except TypeError:  # the token is of another order
            raise _wrong_token() from None
    page = ordered[:limit]
    return page, _token(key(page[-1])) if len(ordered) > limit else ""


def _token(key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _read_token(token: str) -> Key:
    try:
        value, number = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise _wrong_token() from None
    if not isinstance(value, str | float | int) or not isinstance(number, int):
        raise _wrong_token()
    return value, number


def _wrong_token() -> Exception:
    return validation_error("The NextToken is not one that this service returned.")
