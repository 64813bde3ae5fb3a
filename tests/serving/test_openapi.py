"""The page of an endpoint in a browser, and its description for programs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from clearsight.serving.codecs import ACCEPTS, CODECS
from clearsight.testing.mean_colour import CLASSES


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, as the reader of the page has it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_an_image_is_classified_on_the_page(client: httpx.Client, shared: Path, browser: Any) -> None:
    path = shared / "data" / "bad-inputs" / "good.jpg"
    expected = client.post("/invocations", content=path.read_bytes()).json()
    page = browser.new_page(viewport={"width": 420, "height": 900})
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(str(client.base_url.join("/docs")))
    page.set_input_files("input[type=file]", path)
    page.click("button")
    page.wait_for_selector("td")
    assert page.text_content("tr:first-child td:first-child") == expected["label"]
    assert page.locator("tr").count() == min(5, len(CLASSES))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert problems == []
    page.set_input_files("input[type=file]", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"no image"})
    page.click("button")
    page.wait_for_selector("#error:not(:empty)")
    assert page.locator("tr").count() == 0


def test_the_description_names_all_types_and_classes(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    post = described["paths"]["/invocations"]["post"]
    assert set(post["requestBody"]["content"]) == {name for name, _ in CODECS}
    answers = post["responses"]["200"]["content"]
    assert set(answers) == {name for name, _ in ACCEPTS}
    record = answers["application/json"]["schema"]["anyOf"][0]["properties"]
    assert list(record["probabilities"]["properties"]) == record["label"]["enum"] == list(CLASSES)
    assert described["openapi"].startswith("3.1")


def test_the_examples_are_those_of_this_endpoint(client: httpx.Client, photo: bytes) -> None:
    page = client.get("/docs")
    url = str(client.base_url).rstrip("/")
    assert f"--data-binary @cat.jpg {url}/invocations" in page.text
    assert f"endpoint_url=&quot;{url}&quot;" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r'(?:src|href)="https?:', page.text)  # it works without internet


def test_the_path_of_the_sagemaker_runtime_is_answered(client: httpx.Client, photo: bytes) -> None:
    answer = client.post("/endpoints/dogs/invocations", content=photo, headers={"Content-Type": "image/jpeg"})
    assert answer.json() == client.post("/invocations", content=photo).json()
    assert json.loads(answer.content)["label"] in CLASSES
