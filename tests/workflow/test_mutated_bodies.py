"""Mutated bodies of every kind: each is answered, or refused with a sentence; none is an internal error.

$CLEARSIGHT_MUTATED_BODIES is their number; 10,000 take about a minute.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import random
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from clearsight.testing.mean_colour import make_bundle
from clearsight.testing.serving import npy_file
from clearsight.workflow.serve import ServeOptions, serving

COUNT = int(os.environ.get("CLEARSIGHT_MUTATED_BODIES", "1000"))
_MOST_BYTES = 200_000  # of an original: large ones cost time and find the same branches
_TYPES = (
    *("image/jpeg", "image/png", "application/octet-stream", "application/json", "application/x-npy"),
    *("application/zip", "multipart/form-data; boundary=edge", "text/csv", ""),
)


def as_json(raw: bytes) -> bytes:
    return json.dumps({"images": [base64.b64encode(raw).decode()] * 2}).encode()


def as_form(raw: bytes) -> bytes:
    head = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    return head + raw + b"\r\n--edge--\r\n"


def as_zip(raw: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.jpg", raw)
    return buffer.getvalue()


def as_floats(raw: bytes) -> bytes:
    values = np.frombuffer(raw[:192], np.uint8).astype(float).tolist()
    return json.dumps({"inputs": [[values]]}).encode()


def as_array(raw: bytes) -> bytes:
    return npy_file(np.frombuffer(raw[:300], np.uint8).reshape(-1, 1, 1) if len(raw) >= 300 else np.zeros(3, np.uint8))


SHAPES: tuple[Callable[[bytes], bytes], ...] = (bytes, as_json, as_form, as_zip, as_floats, as_array)


def mutated(body: bytes, chance: random.Random) -> bytes:
    """Return the body with some bytes changed, cut short, or doubled; now and then as it is."""
    changed = bytearray(body)
    for _ in range(chance.choice((0, 1, 3, 30))):
        if changed:
            # Half of them in the first bytes, which are headers.
            end = len(changed) if chance.random() < 0.5 else min(len(changed), 64)
            changed[chance.randrange(end)] = chance.randrange(256)
    if chance.random() < 0.3:
        del changed[chance.randrange(len(changed) + 1) :]
    return bytes(changed * chance.choice((1, 1, 1, 2)))


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    bundle = make_bundle(tmp_path / "bundle").path
    with serving(bundle, ServeOptions(port=0)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def test_no_mutated_body_is_an_internal_error(client: httpx.Client, shared: Path) -> None:
    files = sorted(path for path in (shared / "data" / "bad-inputs").iterdir() if path.is_file())
    originals = [path.read_bytes() for path in files if path.stat().st_size <= _MOST_BYTES]
    assert len(originals) > 20
    chance, statuses = random.Random(0), Counter[int]()
    for _ in range(COUNT):
        body = mutated(chance.choice(SHAPES)(chance.choice(originals)), chance)
        headers = {"Content-Type": chance.choice(_TYPES)}
        if chance.random() < 0.1:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body) if chance.random() < 0.5 else body
        response = client.post("/invocations", content=body, headers={k: v for k, v in headers.items() if v})
        statuses[response.status_code] += 1
        assert response.status_code < 500, (response.text, headers, body[:200])
    print(dict(statuses))
    assert statuses[200] > COUNT / 100
    assert statuses[400] > COUNT / 2
