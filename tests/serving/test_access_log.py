"""The access log has one line per request and no private data."""

from __future__ import annotations

import logging
import re

import httpx
import pytest


def test_one_line_per_request_without_private_data(
    client: httpx.Client, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "clearsight.serving.requests"):
        client.post("/invocations?key=secret", content=photo, headers={"Authorization": "Bearer secret"})
        client.get("/two%0Alines")
        client.get("/ping")  # answered on the same connection, so the lines before are written
    lines = [record.getMessage() for record in caplog.records if record.name == "clearsight.serving.requests"]
    assert re.fullmatch(rf"POST /invocations 200, {len(photo)} B in, \d+ B out, [\d.]+ ms", lines[0])
    assert lines[1].startswith("GET /two%0Alines 404")
    assert "secret" not in caplog.text
