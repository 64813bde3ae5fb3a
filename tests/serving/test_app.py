"""The endpoint as a client sees it, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
import logging
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from clearsight.core.bundle import Bundle
from clearsight.core.dataset import Pixels
from clearsight.core.errors import BadValue
from clearsight.serving.app import build_app
from clearsight.serving.codecs import ACCEPTS, CODECS
from clearsight.serving.decoding import DecodePool
from clearsight.serving.payload import Prepared
from clearsight.serving.predictor import Predictor
from clearsight.serving.request_body import Limits
from clearsight.serving.service import Service
from clearsight.testing.mean_colour import CLASSES, SIZE, expected, prepare
from clearsight.testing.serving import npy_file, serving

Run: TypeAlias = Callable[..., Awaitable[Any]]


def invoke(client: httpx.Client, body: bytes, content_type: str = "image/jpeg", accept: str = "*/*") -> httpx.Response:
    return client.post("/invocations", content=body, headers={"Content-Type": content_type, "Accept": accept})


def probabilities(response: httpx.Response) -> list[float]:
    assert response.status_code == 200, response.text
    return list(response.json()["probabilities"].values())


def sentence(response: httpx.Response) -> str:
    assert response.json().keys() == {"error"}
    text: str = response.json()["error"]
    assert "\n" not in text
    assert "Traceback" not in text
    return text


# --- predictions


def test_one_image(client: httpx.Client, photo: bytes) -> None:
    response = invoke(client, photo)
    assert response.headers["content-type"] == "application/json"
    prediction = response.json()
    assert prediction.keys() == {"label", "probability", "probabilities", "top"}
    assert list(prediction["probabilities"]) == list(CLASSES)
    np.testing.assert_allclose(probabilities(response), expected(photo), rtol=1e-4)
    assert prediction["label"] == CLASSES[int(expected(photo).argmax())] == prediction["top"][0]["label"]
    assert prediction["probability"] == max(prediction["probabilities"].values())


STRUCTURED = ("application/json", "application/x-npy", "application/zip", "multipart/form-data")  # the others are files


def test_the_same_image_in_every_request_format(client: httpx.Client, photo: bytes) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"))
    text = base64.b64encode(photo).decode()
    bodies = [
        *((photo, name) for name, _ in CODECS if name not in STRUCTURED),
        (photo, "IMAGE/JPEG; charset=binary"),
        (json.dumps({"image": text}).encode(), "application/json"),
        (json.dumps({"image": f"data:image/jpeg;base64,{text}"}).encode(), "application/json; charset=utf-8"),
        (npy_file(pixels), "application/x-npy"),
        (npy_file(prepare(photo)), "application/x-npy"),
        (npy_file(np.array(photo)), "application/x-npy"),
        (npy_file(np.array(photo)), "image/png"),
    ]
    for body, content_type in bodies:
        np.testing.assert_allclose(probabilities(invoke(client, body, content_type)), expected(photo), rtol=1e-4)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_every_image_format(client: httpx.Client, photo: bytes, form: str) -> None:
    out = io.BytesIO()
    Image.open(io.BytesIO(photo)).save(out, form)
    prediction = probabilities(invoke(client, out.getvalue(), f"image/{form.lower()}"))
    np.testing.assert_allclose(prediction, expected(out.getvalue()), rtol=1e-4)


def test_without_a_content_type_the_first_bytes_decide(client: httpx.Client, photo: bytes) -> None:
    for body in (photo, json.dumps({"image": base64.b64encode(photo).decode()}).encode(), npy_file(np.array(photo))):
        request = client.build_request("POST", "/invocations", content=body)
        request.headers.pop("content-type", None)
        assert probabilities(client.send(request)) == pytest.approx(expected(photo), rel=1e-4)


def test_several_images(client: httpx.Client, photos: list[bytes]) -> None:
    wanted_rows = [expected(photo) for photo in photos[:3]]
    texts = [base64.b64encode(photo).decode() for photo in photos[:3]]
    floats = np.stack([prepare(photo) for photo in photos[:3]])
    for body, content_type in (
        (json.dumps({"images": texts}).encode(), "application/json"),
        (json.dumps({"instances": [{"image": {"b64": text}} for text in texts]}).encode(), "application/json"),
        (npy_file(floats), "application/x-npy"),
    ):
        predictions = invoke(client, body, content_type).json()["predictions"]
        rows = [list(prediction["probabilities"].values()) for prediction in predictions]
        np.testing.assert_allclose(rows, wanted_rows, rtol=1e-4)


def test_every_response_format(client: httpx.Client, photo: bytes) -> None:
    npy_response = invoke(client, photo, accept="application/x-npy")
    assert npy_response.headers["content-type"] == "application/x-npy"
    array = np.load(io.BytesIO(npy_response.content), allow_pickle=False)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, [expected(photo)], rtol=1e-4)

    table = invoke(client, photo, accept="text/csv;q=0.9, image/*")
    assert table.headers["content-type"].startswith("text/csv")
    np.testing.assert_allclose(np.loadtxt(io.StringIO(table.text), delimiter=","), expected(photo), rtol=1e-4)

    lines = invoke(client, photo, accept="application/jsonlines")
    assert lines.headers["content-type"] == "application/jsonlines"
    assert json.loads(lines.text) == invoke(client, photo).json()


# --- errors


def test_every_bad_input_is_accepted_or_refused_as_expected(client: httpx.Client, shared: Path) -> None:
    folder = shared / "data" / "bad-inputs"
    rows = list(csv.DictReader((folder / "manifest.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) > 40
    for row in rows:
        if not (folder / row["file"]).exists():
            continue  # dot files do not survive every way of copying a folder
        response = invoke(client, (folder / row["file"]).read_bytes(), "application/octet-stream")
        status = 200 if row["expected"] in ("accept", "either") else 400
        assert response.status_code == status, (row["file"], response.text)
        if status == 400:
            assert len(sentence(response)) > 20


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"", "image/jpeg", "it is empty"),
        (b"{", "application/json", "it is not JSON"),
        (b'{"image": "%%%"}', "application/json", "it is not base64"),
        (b'{"image": ""}', "application/json", "it holds no bytes"),
        (b"\x93NUMPY", "application/x-npy", "NPY array"),
        (npy_file(np.zeros((3, SIZE + 1, SIZE + 1), np.float32)), "application/x-npy", "must have the shape"),
    ],
)
def test_a_bad_body_is_400_with_the_reason(client: httpx.Client, body: bytes, content_type: str, reason: str) -> None:
    response = invoke(client, body, content_type)
    assert response.status_code == 400
    assert reason in sentence(response)


def test_a_wrong_type_is_415_with_the_allowed_ones(client: httpx.Client, photo: bytes) -> None:
    for wrong in ("text/plain", "application/x-www-form-urlencoded", "image", "image/svg+xml"):
        response = invoke(client, photo, wrong)
        assert response.status_code == 415
        assert all(name in sentence(response) for name, _ in CODECS)


def test_an_unknown_response_type_is_406_with_the_allowed_ones(client: httpx.Client, photo: bytes) -> None:
    response = invoke(client, photo, accept="image/png")
    assert response.status_code == 406
    assert all(name in sentence(response) for name, _ in ACCEPTS)


def test_too_many_images_are_413(client: httpx.Client) -> None:
    response = invoke(client, npy_file(np.zeros((65, 1, 1, 3), np.uint8)), "application/x-npy")
    assert response.status_code == 413
    assert "65 images, the limit is 64" in sentence(response)


@pytest.fixture(scope="module")
def narrow(predictor: Predictor) -> Iterator[httpx.Client]:
    with serving(predictor, Limits(body_bytes=10_000, body_seconds=0.2)) as client:
        yield client


def test_a_body_declared_too_large_is_413(narrow: httpx.Client) -> None:
    response = invoke(narrow, b"x" * 10_001)
    assert response.status_code == 413
    assert "limit of 10000 bytes" in sentence(response)


def test_a_body_that_becomes_too_large_is_413(narrow: httpx.Client) -> None:
    response = narrow.post("/invocations", content=(b"x" * 1000 for _ in range(300)))
    assert "content-length" not in response.request.headers
    assert response.status_code == 413
    assert "limit of 10000 bytes" in sentence(response)


def test_a_body_that_does_not_arrive_is_408(narrow: httpx.Client) -> None:
    address = (narrow.base_url.host, narrow.base_url.port)
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nbegun")
        raw_response = b"".join(iter(lambda: connection.recv(4096), b""))  # until the server hangs up
    assert raw_response.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 0.2 s" in raw_response


def test_other_paths_and_methods_are_errors_that_name_the_routes(client: httpx.Client) -> None:
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("GET", "/ping/", 404),
        ("GET", "/invocations", 405),
        ("POST", "/ping", 405),
    ):
        response = client.request(method, path)
        assert response.status_code == status
        assert "POST /invocations" in sentence(response)
    assert client.get("/invocations").headers["allow"] == "POST"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=100).map(lambda data: b"\x93NUMPY\x01\x00" + data),
        st.binary(max_size=100).map(lambda data: b"\xff\xd8\xff" + data),
        st.text(max_size=50).map(lambda text: json.dumps({"image": text}).encode()),
    ),
    content_type=st.one_of(st.sampled_from([name for name, _ in CODECS]), st.text(st.characters(codec="ascii"))),
    accept=st.one_of(st.just("*/*"), st.text(st.characters(codec="ascii"))),
)
def test_no_request_causes_an_internal_error(client: httpx.Client, body: bytes, content_type: str, accept: str) -> None:
    clean = str.maketrans("", "", "".join(map(chr, [*range(32), 127])))
    response = invoke(client, body, content_type.translate(clean).strip(), accept.translate(clean).strip())
    assert response.status_code in (400, 406, 415)
    assert sentence(response)


# --- concurrent requests


def test_concurrent_requests_get_the_same_predictions(client: httpx.Client, photos: list[bytes]) -> None:
    one_by_one = [probabilities(invoke(client, photo)) for photo in photos]
    with ThreadPoolExecutor(32) as pool:
        concurrent = list(pool.map(lambda photo: probabilities(invoke(client, photo)), photos))
    np.testing.assert_allclose(concurrent, one_by_one, rtol=1e-5)


def test_a_full_service_is_503_with_retry_after(predictor: Predictor, photo: bytes) -> None:
    entered, may_continue = threading.Semaphore(0), threading.Event()

    def wait_and_prepare(raw: bytes | Pixels) -> Prepared:
        entered.release()
        assert may_continue.wait(20)
        return prepare(raw)

    may_continue.set()
    with (
        serving(replace(predictor, prepare=wait_and_prepare), Limits(images=2), waiting=2) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        assert client.get("/ping").status_code == 200
        assert entered.acquire(timeout=20)  # the canary
        may_continue.clear()
        waiting = [pool.submit(invoke, client, photo) for _ in range(2)]
        assert all(entered.acquire(timeout=20) for _ in waiting)
        refused = invoke(client, photo)
        may_continue.set()
        assert [probabilities(future.result()) for future in waiting]
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert "too many images are waiting" in sentence(refused)
        assert invoke(client, photo).status_code == 200


def test_a_service_that_could_never_hold_a_request_is_refused(predictor: Predictor) -> None:
    with pytest.raises(BadValue, match="could never be answered"):
        build_app(Service(predictor, waiting=10), Limits(images=11))


# --- health


def test_ping_is_ok_once_the_test_image_is_classified(client: httpx.Client) -> None:
    response = client.get("/ping")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "model": "mean_colour"}


def test_ping_is_503_with_the_reason_when_the_model_is_wrong(
    predictor: Predictor, caplog: pytest.LogCaptureFixture
) -> None:
    wrong: Bundle = predictor.bundle.model_copy(update={"classes": ("only", "three", "classes")})
    with serving(replace(predictor, bundle=wrong)) as client:
        response = client.get("/ping")
        assert response.status_code == 503
        assert response.json()["status"] == "unavailable"
        assert "4 numbers for 3 classes" in response.json()["error"]


def test_an_internal_error_is_500_with_one_sentence_and_a_traceback_in_the_log(
    predictor: Predictor, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def run(self, images: Prepared) -> Prepared:
            raise ZeroDivisionError("secret")

    with serving(replace(predictor, session=Broken())) as client:
        response = invoke(client, photo)
    assert response.status_code == 500
    assert sentence(response) == "The endpoint failed to answer; its log has the reason."
    assert "ZeroDivisionError: secret" in caplog.text


def test_the_root_describes_model_and_limits(client: httpx.Client) -> None:
    description = client.get("/").json()
    assert description["classes"] == list(CLASSES)
    assert description["image_size"] == SIZE
    assert "image/jpeg" in description["invocations"]["accepts"]
    assert description["invocations"]["answers"][0] == "application/json"
    assert description["limits"]["body_bytes"] == 20 << 20


def test_the_log_has_one_line_per_request_without_private_data(
    client: httpx.Client, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "clearsight.serving.requests"):
        headers = {"Authorization": "Bearer secret", "X-Request-Id": "mine-1"}
        assert (
            client.post("/invocations?key=secret", content=photo, headers=headers).headers["x-request-id"] == "mine-1"
        )
        other = client.get("/two%0Alines", headers={"X-Request-Id": "two words"}).headers["x-request-id"]
        client.get("/ping")  # answered on the same connection, so the lines before are written
    lines = [record.getMessage() for record in caplog.records if record.name == "clearsight.serving.requests"]
    if lines[0].startswith("GET / "):  # of the fixture, whose line may be written after its response has arrived
        del lines[0]
    assert re.fullmatch(rf"POST /invocations 200, {len(photo)} B in, \d+ B out, [\d.]+ ms, mine-1", lines[0])
    assert re.fullmatch(rf"GET /two%0Alines 404, .*, {other}", lines[1])
    assert re.fullmatch("[0-9a-f]{16}", other)
    assert "secret" not in caplog.text


def test_files_of_a_form_are_answered_one_or_several(client: httpx.Client, photos: list[bytes]) -> None:
    one = client.post("/invocations", files={"file": ("cat.jpg", photos[0], "image/jpeg")})
    assert probabilities(one) == pytest.approx(expected(photos[0]), rel=1e-4)
    several = client.post("/invocations", files=[("a", ("a.jpg", photos[0])), ("b", ("b.jpg", photos[1]))])
    assert [len(row["probabilities"]) for row in several.json()["predictions"]] == [len(CLASSES)] * 2


PREFLIGHT = {"Origin": "http://a.example", "Access-Control-Request-Method": "POST"}


def client_of(predictor: Predictor, origins: list[str]) -> TestClient:
    return TestClient(build_app(Service(predictor), origins=origins))


@pytest.mark.parametrize("origin", ["http://a.example", "http://A.example/", "*"])
def test_a_preflight_of_an_allowed_origin_is_answered(predictor: Predictor, photo: bytes, origin: str) -> None:
    with client_of(predictor, [origin]) as client:
        headers = {**PREFLIGHT, "Access-Control-Request-Headers": "content-type"}
        preflight = client.options("/invocations", headers=headers)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] in ("http://a.example", "*")
        assert "content-type" in preflight.headers["access-control-allow-headers"].lower()
        for body, status in ((photo, 200), (b"no image", 400)):
            response = client.post("/invocations", content=body, headers={"Origin": "http://a.example"})
            assert (response.status_code, "access-control-allow-origin" in response.headers) == (status, True)


def test_a_preflight_of_another_origin_is_refused_as_json(predictor: Predictor) -> None:
    with client_of(predictor, ["http://b.example"]) as client:
        refused = client.options("/invocations", headers=PREFLIGHT)
    assert refused.status_code == 400
    assert "'http://a.example' may not send" in refused.json()["error"]
    with client_of(predictor, []) as client:
        assert client.options("/invocations", headers=PREFLIGHT).status_code == 405


@pytest.mark.parametrize("origin", ["a.example", "http://a.example/page", "", "http://"])
def test_an_origin_that_no_browser_sends_is_refused(predictor: Predictor, origin: str) -> None:
    with pytest.raises(BadValue, match=r"--allow-origin .*it is no origin"):
        build_app(Service(predictor), origins=[origin])


def told_of_cancellation(run: Run, cancelled: threading.Event) -> Run:
    """Return `run`, which sets the event once it was cancelled and has told its job to stop."""

    async def told(*arguments: Any, **options: Any) -> Any:
        try:
            return await run(*arguments, **options)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    return told


def test_the_work_of_a_client_that_left_is_dropped(
    predictor: Predictor, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, may_continue, left = threading.Event(), threading.Event(), threading.Event()
    monkeypatch.setattr(DecodePool, "run", told_of_cancellation(DecodePool.run, left))
    decoded: list[object] = []

    def slow(raw: bytes | Pixels) -> Prepared:
        if raw == photo:
            decoded.append(raw)
            entered.set()
            assert may_continue.wait(20)
        return prepare(raw)

    with serving(replace(predictor, prepare=slow), decoders=1) as client:
        body = json.dumps({"images": [base64.b64encode(photo).decode()] * 9}).encode()
        head = "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\n"
        with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20) as connection:
            connection.sendall(head.encode() + b"\r\n" + body)
            assert entered.wait(20)
        assert left.wait(20)
        may_continue.set()
        assert invoke(client, photo).status_code == 200
    assert decoded == [photo, photo]
