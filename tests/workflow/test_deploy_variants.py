"""Deployed endpoints with several models, with models that have code of their own, over TLS, and with capture."""

from __future__ import annotations

import json
import os
import signal
import ssl
import tarfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from clearsight.cli import main
from clearsight.core.errors import BadBundle, BadValue, ClearsightError
from clearsight.serving.data_capture import CaptureOptions
from clearsight.serving.endpoint_files import EndpointFiles
from clearsight.testing.mean_colour import CLASSES, make_bundle
from clearsight.workflow.deployment.deploy import rollback, update, weigh
from clearsight.workflow.deployment.endpoint_status import endpoints
from clearsight.workflow.deployment.versions import ModelSource, parse_variant, with_main
from clearsight.workflow.paths import Paths
from clearsight.workflow.predict import predict
from tests.workflow.test_deploy import first, home, photo, pids, second, started, until

__all__ = ["home", "photo"]  # fixtures

TLS = Path(__file__).parents[1] / "serving" / "tls"
INVOKED = "x-amzn-invoked-production-variant"
IMAGE = {"Content-Type": "image/x-test"}
# Answers the number of bytes that it got, and how often it was asked.
CODE = """
import json, os
def model_fn(model_dir):
    return [os.path.basename(model_dir), 0]
def transform_fn(model, body, content_type, accept):
    model[1] += 1
    return json.dumps({"bytes": len(body), "type": content_type, "model": model})
"""


def write_code(folder: Path, text: str = CODE) -> Path:
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text(text)
    return folder


def test_variants_shadow_capture_and_tls(home: Path, tmp_path: Path, photo: Path) -> None:
    one, two = first(tmp_path / "one"), second(tmp_path / "two")
    variants = (ModelSource(path=two, name="b", share=0.5), ModelSource(path=two, name="c", share=0.0))
    certificate, key = TLS / "certificate.pem", TLS / "key.pem"
    status = started(
        home,
        one,
        variants=variants,
        capture=CaptureOptions(folder=str(tmp_path / "captured")),
        tls=(str(certificate), str(key)),
    )
    assert status.url.startswith("https://127.0.0.1:")
    trust = ssl.create_default_context(cafile=str(certificate))
    trust.check_hostname = False
    content = photo.read_bytes()
    with httpx.Client(base_url=status.url, verify=trust, trust_env=False) as client:
        answers = [client.post("/invocations", content=content) for _ in range(40)]
    counts = Counter(answer.headers[INVOKED] for answer in answers)
    assert set(counts) == {"main", "b"}
    for answer in answers:
        served = two if answer.headers[INVOKED] == "b" else one
        expected = predict(served, [photo]).probabilities[0]
        np.testing.assert_allclose(list(answer.json()["probabilities"].values()), expected, atol=1e-6)
    with pytest.raises(httpx.ConnectError), httpx.Client(trust_env=False) as client:
        client.get(status.url)  # the certificate is no authority's
    remote = predict("endpoint:dogs", [photo], paths=Paths.of({"CLEARSIGHT_HOME": str(home)}))  # it knows the file
    assert remote[0].error is None
    until(lambda: endpoints(home=home)[0].variants[2].compared == 41)
    shown = {variant.name: variant for variant in endpoints(home=home)[0].variants}
    assert (shown["main"].requests + shown["b"].requests, shown["c"].requests) == (41, 41)
    assert (shown["c"].share, shown["c"].agreed) == (0.0, 41)
    captured = list((tmp_path / "captured" / "dogs").glob("*/*/*/*/*/*.jsonl"))
    assert {path.relative_to(tmp_path / "captured" / "dogs").parts[0] for path in captured} == {"main", "b"}
    assert sum(len(path.read_text().splitlines()) for path in captured) == 41

    weighed = weigh("dogs", {"b": 0.999999}, home=home)
    assert [round(variant.share, 3) for variant in weighed.variants] == [0.0, 1.0, 0.0]
    with httpx.Client(base_url=status.url, verify=trust, trust_env=False) as client:
        assert {client.post("/invocations", content=content).headers[INVOKED] for _ in range(10)} == {"b"}
        asked = {"X-Amzn-SageMaker-Target-Variant": "main"}
        assert client.post("/invocations", content=content, headers=asked).headers[INVOKED] == "main"
    assert [variant.share for variant in rollback("dogs", home=home).variants] == [0.5, 0.5, 0.0]
    assert update("dogs", one, home=home).variants == ()


def test_a_model_with_its_own_code(home: Path, tmp_path: Path, photo: Path) -> None:
    folder = write_code(tmp_path / "breeds")
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=".")
    status = started(home, archive, trust=True)
    assert (status.model, status.workers) == ("model", 1)
    with httpx.Client(base_url=status.url, trust_env=False) as client:
        answer = client.post("/invocations", content=photo.read_bytes(), headers={"Content-Type": "image/jpeg"})
    assert answer.json() == {"bytes": photo.stat().st_size, "type": "image/jpeg", "model": ["main", 1]}
    broken = write_code(tmp_path / "broken", "def model_fn(d): raise ValueError('no weights here')")
    with pytest.raises(
        ClearsightError, match=r"the old one goes on: code/inference\.py: the model cannot be loaded: Val"
    ):
        update("dogs", broken, home=home, trust=True)
    bundle = make_bundle(tmp_path / "bundle").path
    assert update("dogs", bundle, home=home).classes == dict.fromkeys(CLASSES, 0)  # the same front
    assert (
        update("dogs", bundle, home=home, variants=[ModelSource(path=folder, name="b", share=0.5)], trust=True).workers
        == 1
    )
    assert [job["entry_point"] for job in _config(home)["variants"]["3"]] == ["", "inference.py"]


def _config(home: Path) -> dict[str, dict[str, list[dict[str, str]]]]:
    values: dict[str, dict[str, list[dict[str, str]]]] = json.loads(
        EndpointFiles(home / "endpoints" / "dogs").config.read_text()
    )
    return values


def test_a_worker_beyond_its_memory_is_replaced_and_no_request_is_lost(home: Path, tmp_path: Path, photo: Path) -> None:
    greedy = write_code(
        tmp_path / "greedy",
        "held = []\ndef model_fn(d): return 1\n"
        "def transform_fn(model, body, kind, accept):\n    held.append(b'x' * (20 << 20))\n    return 'ok'\n",
    )
    status = started(home, greedy, memory=250 << 20, trust=True)
    statuses = []
    with httpx.Client(base_url=status.url, trust_env=False) as client:
        until(
            lambda: (
                statuses.append(client.post("/invocations", content=b"x").status_code) is None  # type: ignore[func-returns-value]
                and endpoints(home=home)[0].replaced > 0
            )
        )
    assert set(statuses) == {200}


@pytest.mark.parametrize(
    ("text", "shadow", "problem"),
    [
        ("b=runs/second", False, "must be NAME=MODEL:SHARE"),
        ("runs/second:0.1", False, "must be NAME=MODEL:SHARE"),
        ("b=runs/second:half", False, "its share 'half' is no number"),
        ("b=runs/second:0", False, "its share must be above 0"),
        ("b=runs/second:1.5", False, "above 0 and below 1"),
        ("b c=runs/second:0.5", False, "letters, digits and hyphens"),
        ("runs/third", True, "must be NAME=MODEL"),
    ],
)
def test_a_variant_that_cannot_be_read(text: str, shadow: bool, problem: str) -> None:
    with pytest.raises(BadValue, match=problem):
        parse_variant(text, shadow=shadow)


def test_the_first_model_gets_what_the_others_leave() -> None:
    main_model = ModelSource(path=Path("a"))
    others = [parse_variant("b=runs/b:0.25", shadow=False), parse_variant("c=runs/c", shadow=True)]
    assert [source.share for source in with_main(main_model, others)] == [0.75, 0.25, 0.0]
    with pytest.raises(BadValue, match="leave nothing to main"):
        with_main(main_model, [parse_variant("b=b:0.5", shadow=False), parse_variant("c=c:0.5", shadow=False)])
    with pytest.raises(BadValue, match="two of this name"):
        with_main(main_model, [*others, *others])


def test_models_that_do_not_fit(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = first(tmp_path / "one")
    other = make_bundle(tmp_path / "other")
    other = other.model_copy(update={"classes": tuple(reversed(CLASSES))}).seal(other.path)
    with pytest.raises(BadValue, match="variant b: its classes are not those of main"):
        started(home, one, variants=(ModelSource(path=other.path, name="b", share=0.5),))
    coded = write_code(tmp_path / "coded", "open('was-run', 'w')")
    with pytest.raises(BadBundle, match=r"has no serve\.py"):
        started(home, coded, entry_point="serve.py")
    with pytest.raises(BadValue, match=r"served by its own code, code/inference.py, which is not run unasked.*--trust"):
        started(home, coded)
    assert list(tmp_path.rglob("was-run")) == []
    assert list((home / "endpoints").glob("*")) == []  # nothing is left of what could not be deployed
    for words, problem in (
        (["--tls-cert", "a.pem"], "--tls-cert: it needs --tls-key too"),
        (["--tls-cert", str(TLS / "key.pem"), "--tls-key", str(TLS / "key.pem")], "they are no pair"),
        (["--max-memory", "much"], "must be a size such as 500MB"),
    ):
        assert main(["deploy", str(one), "--name", "dogs", *words]) == 2
        assert problem in capsys.readouterr().err


def test_clients_of_a_killed_worker_get_503_and_may_ask_again(home: Path, tmp_path: Path) -> None:
    slow = write_code(
        tmp_path / "slow",
        "import time\ndef model_fn(d): return 1\n"
        "def transform_fn(model, body, kind, accept):\n"
        "    if body == b'hang': time.sleep(600)\n"
        "    return 'ok'\n",
    )
    status = started(home, slow, trust=True)
    with (
        httpx.Client(base_url=status.url, trust_env=False, timeout=30) as waiting,
        httpx.Client(base_url=status.url, trust_env=False) as idle,
        ThreadPoolExecutor(1) as pool,
    ):
        assert idle.post("/invocations", content=b"x", headers=IMAGE).status_code == 200
        answer = pool.submit(waiting.post, "/invocations", content=b"hang", headers=IMAGE)
        until(lambda: "in_progress 1" in idle.get("/metrics").text)
        [worker] = pids(home)
        os.kill(worker, signal.SIGKILL)
        response = answer.result()
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert response.json() == {"error": "The process that had this request has ended. Send the request again."}
        until(lambda: pids(home) not in ([], [worker]))
        assert waiting.post("/invocations", content=b"x", headers=IMAGE).text == "ok"


@pytest.mark.slow
def test_workers_follow_the_load(home: Path, tmp_path: Path) -> None:
    slow = write_code(
        tmp_path / "slow",
        "import time\ndef model_fn(d): return 1\n"
        "def transform_fn(model, body, kind, accept):\n    time.sleep(0.05)\n    return 'ok'\n",
    )
    status = started(home, slow, workers=(1, 2), trust=True)
    assert status.workers == 1
    stop = threading.Event()

    def ask() -> set[int]:
        with httpx.Client(base_url=status.url, trust_env=False, timeout=60) as client:
            statuses: set[int] = set()
            while not stop.is_set():
                statuses.add(client.post("/invocations", content=b"x").status_code)
            return statuses

    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(ask) for _ in range(16)]
        until(lambda: len(pids(home)) == 2)
        stop.set()
        assert set().union(*(answer.result() for answer in answers)) == {200}
