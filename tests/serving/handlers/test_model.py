"""A model with code of its own: errors harm their own request, and a process that ends or hangs is replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from clearsight.core.errors import BadBundle
from clearsight.serving.app import build_app
from clearsight.serving.handlers.model import HandlerCode, HandlerModel, entry_point
from clearsight.serving.request_body import Limits

# The model of these tests does what the body says.
CODE = """
import os, time
def model_fn(model_dir):
    print("loading", flush=True)
    return os.getpid()
def transform_fn(model, body, content_type, accept):
    text = body.decode()
    if text == "raise":
        raise KeyError("no such breed")
    if text == "die":
        os._exit(3)
    if text == "hang":
        time.sleep(600)
    return f"{model}:{text}:{content_type}", "text/plain"
"""


def code(folder: Path, text: str = CODE) -> HandlerCode:
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text(text)
    return HandlerCode(folder=folder, entry_point="inference.py", name="breeds")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    model = HandlerModel(code(tmp_path / "model"))
    model.start()
    with TestClient(build_app(model, Limits(answer_seconds=2))) as client:
        yield client


def ask(client: TestClient, text: str) -> tuple[int, str]:
    response = client.post("/invocations", content=text.encode(), headers={"Content-Type": "image/x-test"})
    return response.status_code, response.text


def test_requests_are_answered_by_one_process(client: TestClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: ask(client, str(number)), range(40)))
    assert {status for status, _ in answers} == {200}
    assert [text.split(":")[1] for _, text in answers] == [str(number) for number in range(40)]
    assert len({text.split(":")[0] for _, text in answers}) == 1
    assert client.get("/ping").json() == {"status": "ok", "model": "breeds"}
    assert "code of its own" in client.get("/docs").text


def test_an_exception_harms_its_own_request(client: TestClient) -> None:
    before = ask(client, "a")
    status, text = ask(client, "raise")
    assert status == 500
    assert "KeyError: 'no such breed' (inference.py, line 9)" in text
    assert "Traceback" not in text
    assert ask(client, "a") == before


def test_a_process_that_ends_is_replaced(client: TestClient) -> None:
    _, before = ask(client, "a")
    status, text = ask(client, "die")
    assert status == 500
    assert "the model's process ended (exit code 3) with this request" in text
    status, after = ask(client, "a")
    assert status == 200
    assert after != before
    os.kill(int(after.split(":")[0]), signal.SIGKILL)
    assert ask(client, "a")[0] in (200, 500)  # the kill may be noticed by the request itself
    assert ask(client, "a")[0] == 200


def test_a_request_that_hangs_is_ended(client: TestClient) -> None:
    status, text = ask(client, "hang")
    assert status == 504
    assert "did not answer within 2 s" in text
    assert ask(client, "a")[0] == 200


def test_the_process_ends_with_the_endpoint(tmp_path: Path) -> None:
    model = HandlerModel(code(tmp_path / "model"))
    model.start()
    process = model._process
    assert process is not None
    model.close()
    assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def model_fn(d): raise RuntimeError('no weights')", r"RuntimeError: no weights \(inference.py, line 1\)"),
        ("def model_fn(d: return", "SyntaxError"),
        ("import sys; sys.exit(1)", r"its process ended \(exit code 1\)"),
        ("import os; os._exit(7)", r"its process ended \(exit code 7\)"),
    ],
)
def test_a_model_that_cannot_be_loaded(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match=problem):
        HandlerModel(code(tmp_path / "model", text)).start()


def test_a_client_that_leaves_does_not_mix_up_responses(tmp_path: Path) -> None:
    from clearsight.serving.served_model import ModelRequest

    async def run() -> list[bytes]:
        model = HandlerModel(code(tmp_path / "model"))
        model.start()
        limits = Limits()
        tasks = [
            asyncio.create_task(model.respond(ModelRequest(body=b"%d" % n, content_type="image/x-test"), limits))
            for n in range(20)
        ]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        model.close()
        return [answer.body.split(b":")[1] for answer in answers[1::2] if not isinstance(answer, BaseException)]

    assert asyncio.run(run()) == [b"%d" % n for n in range(1, 20, 2)]


def test_the_file_with_the_functions(tmp_path: Path) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    with pytest.raises(BadBundle, match=r"it has no code/\*.py"):
        entry_point(tmp_path)
    (folder / "train.py").touch()
    assert entry_point(tmp_path) == "train.py"
    (folder / "helper.py").touch()
    with pytest.raises(BadBundle, match=r"several files and none is inference\.py"):
        entry_point(tmp_path)
    (folder / "inference.py").touch()
    assert entry_point(tmp_path) == "inference.py"
    assert entry_point(tmp_path, "train.py") == "train.py"
    with pytest.raises(BadBundle, match=r"no serve\.py"):
        entry_point(tmp_path, "serve.py")
