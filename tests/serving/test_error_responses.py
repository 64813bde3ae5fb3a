"""An error becomes a response with a status and one sentence."""

from __future__ import annotations

import json
import logging

import pytest

from clearsight.core.errors import BadBundle, BadImage, TooLarge
from clearsight.serving.error_responses import INTERNAL_ERROR, STATUSES, busy, error_response


@pytest.mark.parametrize(("kind", "status"), STATUSES.items())
def test_an_error_of_the_client_is_returned_with_its_sentence(kind: type[Exception], status: int) -> None:
    response = error_response(kind("thing", "it is wrong", fix="Repair it."))
    assert response.status_code == status
    assert json.loads(response.body) == {"error": "thing: it is wrong. Repair it."}


def test_a_subclass_has_the_status_of_its_base() -> None:
    class Cropped(BadImage):
        pass

    assert error_response(Cropped("image", "it is cut off")).status_code == 400


@pytest.mark.parametrize("error", [ZeroDivisionError("secret 42"), BadBundle("/secret/path", "it is damaged")])
def test_an_internal_error_is_logged_and_not_shown(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "clearsight.serving"):
        response = error_response(error)
    assert response.status_code == 500
    assert json.loads(response.body) == {"error": INTERNAL_ERROR}
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[1] is error


def test_busy_sets_retry_after_and_too_large_closes_the_connection() -> None:
    assert error_response(busy()).headers["retry-after"] == "1"
    assert error_response(TooLarge("body", "it is too large")).headers["connection"] == "close"
