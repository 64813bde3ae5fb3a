"""Errors as responses."""

from __future__ import annotations

import json
import logging

import pytest

from clearsight.core.errors import BadBundle, BadImage, TooLarge
from clearsight.serving.error_responses import OUR_FAULT, STATUSES, busy, error_response


@pytest.mark.parametrize(("kind", "status"), STATUSES.items())
def test_a_fault_of_the_client_is_told_in_its_own_sentence(kind: type[Exception], status: int) -> None:
    response = error_response(kind("thing", "it is wrong", fix="Mend it."))
    assert response.status_code == status
    assert json.loads(response.body) == {"error": "thing: it is wrong. Mend it."}


def test_a_more_special_kind_has_the_status_of_its_base() -> None:
    class Cropped(BadImage):
        pass

    assert error_response(Cropped("image", "it is cut off")).status_code == 400


@pytest.mark.parametrize("error", [ZeroDivisionError("secret 42"), BadBundle("/secret/path", "it is damaged")])
def test_a_fault_of_ours_is_logged_and_not_shown(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "clearsight.serving"):
        response = error_response(error)
    assert response.status_code == 500
    assert json.loads(response.body) == {"error": OUR_FAULT}
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[1] is error


def test_a_client_learns_when_to_come_back_and_when_to_hang_up() -> None:
    assert error_response(busy()).headers["retry-after"] == "1"
    assert error_response(TooLarge("body", "it is too large")).headers["connection"] == "close"
