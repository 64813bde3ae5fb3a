"""Pages of endpoints: an image that is dropped on one is classified."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearsight.serving.server import background
from clearsight.testing.mean_colour import CLASSES, make_bundle
from tests.sagemaker.endpoints.hosted import ROLE, Hosted
from tests.sagemaker.hosting.model_folder import folder_archive
from tests.sagemaker.local_service import LocalService

BROWSER = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def hosted(service: LocalService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    """An endpoint with a bundle."""
    hosted = Hosted(service)
    folder = tmp_path_factory.mktemp("bundle")
    make_bundle(folder)
    container = {"Image": "clearsight", "ModelDataUrl": hosted.put("bundle.tar.gz", folder_archive(folder))}
    service.call("CreateModel", ModelName="colours", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    hosted.config("colours", {"ModelName": "colours"})
    hosted.endpoint("colours", "colours")
    yield hosted
    hosted.delete_all()


def test_pages_of_endpoints(hosted: Hosted, shared: Path) -> None:
    client = hosted.service.client
    assert 'href="/_clearsight/endpoints/colours"' in client.get("/", headers=BROWSER).text
    page = client.get("/_clearsight/endpoints/colours", headers=BROWSER)
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for shown in ("InService", "Drop an image", "AllTraffic", "Model data: s3://models/bundle.tar.gz.", "Delete the"):
        assert shown in page.text
    photo = (shared / "data" / "bad-inputs" / "good.jpg").read_bytes()
    address = "/_clearsight/endpoints/colours/invocations"
    assert client.post(address, content=photo, headers={"Content-Type": "image/jpeg"}).json()["label"] in CLASSES
    assert client.post(address, content=photo, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post(address.replace("colours", "none"), content=photo).json()["__type"] == "ValidationError"
    assert client.get("/_clearsight/endpoints/none", headers=BROWSER).status_code == 404


def test_a_browser_classifies_an_image_and_deletes_the_endpoint(hosted: Hosted, shared: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    (tmp_path / "no image.jpg").write_text("<b>no image</b>")
    messages: list[str] = []
    with background(hosted.service.client.app, "127.0.0.1", 0) as url, playwright.sync_playwright() as driver:
        opened: Any = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = opened.new_page()
        tab.on("pageerror", lambda error: messages.append(str(error)))
        tab.goto(f"{url}/_clearsight/endpoints/colours")
        tab.set_input_files("#file", shared / "data" / "bad-inputs" / "good.jpg")
        tab.wait_for_selector("text=Status 200")
        assert tab.evaluate("document.querySelector('#result img').naturalWidth") > 0
        assert '"label"' in tab.locator("#result pre").inner_text()
        tab.set_input_files("#file", tmp_path / "no image.jpg")
        tab.wait_for_selector("text=Status 424")
        assert "image" in tab.locator("#result pre").inner_text()
        tab.click("text=Delete the endpoint")
        tab.wait_for_selector("text=Buckets")
        tab.wait_for_selector("text=colours", state="detached")
        opened.close()
    assert messages == []
