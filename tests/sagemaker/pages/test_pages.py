"""Pages of the service: what a browser gets, and what it shows while a job runs."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearsight.serving.server import background
from tests.sagemaker.local_service import LocalService, local_service

BROWSER = {"Accept": "text/html,application/xhtml+xml"}
SCRIPT = "<script>document.title = 'changed'</script>"


@pytest.fixture(scope="module")
def trained(service: LocalService) -> str:
    """A job that has ended, with a metric, a rule and texts that are no HTML."""
    parameters = {"script": "complete", "note": json.dumps(SCRIPT)}
    rules = [{"RuleConfigurationName": "Overfit", "RuleEvaluatorImage": "rules:latest"}]
    service.create_job("dogs-1", HyperParameters=parameters, DebugRuleConfigurations=rules)
    service.ended_job("dogs-1")
    folder = service.state.training_jobs.folder("dogs-1")
    folder.append("rule", configuration="Overfit", status="IssuesFound", details=f"from step 40 {SCRIPT}")
    with folder.log.open("a") as log:
        log.write(f"{int(1000 * time.time())} {SCRIPT}\n")
    return "dogs-1"


def page(service: LocalService, path: str) -> str:
    response = service.client.get(path, headers=BROWSER)
    assert response.status_code == 200, response.text
    assert "script-src 'self'" in response.headers["content-security-policy"]
    return str(response.text)


def test_a_browser_gets_jobs_where_a_client_of_s3_gets_buckets(service: LocalService, trained: str) -> None:
    assert f'href="/_clearsight/jobs/{trained}"' in page(service, "/")
    assert "<ListAllMyBucketsResult" in service.client.get("/").text


def test_a_job_with_its_rules_its_log_and_its_settings(service: LocalService, trained: str) -> None:
    text = page(service, f"/_clearsight/jobs/{trained}")
    for shown in ("Completed", "IssuesFound", "from step 40", "ml.g4dn.xlarge", "epoch 2 loss=0.333", "The whole log"):
        assert shown in text
    assert "data-live" not in text  # it has ended: nothing is asked for again


def test_texts_of_jobs_are_no_html(service: LocalService, trained: str) -> None:
    text = page(service, f"/_clearsight/jobs/{trained}")
    assert text.count("&lt;script&gt;") == 3  # hyperparameter, rule, log
    assert SCRIPT not in text
    log = service.client.get(f"/_clearsight/jobs/{trained}/log")
    assert log.headers["content-type"].startswith("text/plain")
    assert SCRIPT in log.text


def test_a_bucket_has_folders_and_objects(service: LocalService, shared: Path) -> None:
    photo = (shared / "data" / "bad-inputs" / "good.jpg").read_bytes()
    service.client.put("/photos")
    for key in ("train/cats/1.jpg", "train/a%26b%20%C3%BC.jpg"):
        assert service.client.put(f"/photos/{key}", content=photo).status_code == 200
    assert 'href="?prefix=train/"' in page(service, "/_clearsight/buckets/photos")
    text = page(service, "/_clearsight/buckets/photos?prefix=train/")
    assert 'href="?prefix=train/cats/"' in text
    assert "a&amp;b ü.jpg" in text
    assert f"{len(photo) / 1024:.1f} KiB" in text
    assert service.client.get("/photos/train/a%26b%20%C3%BC.jpg").content == photo  # where the link leads


@pytest.mark.parametrize("path", ["jobs/nothing", "buckets/nothing", "nothing", "jobs/dogs-1/log/more"])
def test_what_is_not_there(service: LocalService, path: str) -> None:
    response = service.client.get(f"/_clearsight/{path}", headers=BROWSER)
    assert response.status_code == 404
    assert "All jobs and buckets" in response.text


def test_a_job_is_stopped_from_its_page(service: LocalService) -> None:
    service.create_job("dogs-2", HyperParameters={"script": "wait"})
    assert "Stop the job" in page(service, "/_clearsight/jobs/dogs-2")
    foreign = service.client.post("/_clearsight/jobs/dogs-2/stop", headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403  # the page of another site
    assert service.client.post("/_clearsight/jobs/dogs-2/stop", follow_redirects=False).status_code == 303
    assert service.ended_job("dogs-2")["TrainingJobStatus"] == "Stopped"


def test_a_service_with_signatures_has_no_pages(tmp_path: Path) -> None:
    with local_service(tmp_path, require_signature=True) as service:
        assert service.client.get("/", headers=BROWSER).status_code == 403
        assert service.client.get("/_clearsight/jobs", headers=BROWSER).status_code == 403


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


def test_a_browser_shows_what_a_running_job_writes(service: LocalService, browser: Any) -> None:
    service.create_job("dogs-3", HyperParameters={"script": "wait"})
    folder = service.state.training_jobs.folder("dogs-3")
    messages: list[str] = []
    with background(service.client.app, "127.0.0.1", 0) as url:
        tab = browser.new_page()
        tab.on("console", lambda message: messages.append(message.text))
        tab.on("pageerror", lambda error: messages.append(str(error)))
        tab.goto(f"{url}/")
        tab.click("text=dogs-3")
        for value in (0.9, 0.4):
            folder.append("metric", name="validation:loss", value=value)
        with folder.log.open("a") as log:
            log.write(f"{int(1000 * time.time())} epoch 7 of 9\n")
        tab.wait_for_selector("text=epoch 7 of 9")  # without a reload
        assert tab.locator("figcaption").all_inner_texts() == ["loss 0.33333", "validation:loss 0.4"]
        assert tab.locator("figure polyline").count() == 2
        tab.click("text=Stop the job")
        tab.wait_for_selector("p .status.Stopped")
        tab.wait_for_selector("text=Stop the job", state="detached")
        tab.close()
    assert messages == []
