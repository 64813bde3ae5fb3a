"""`serving` runs the endpoint of a run or bundle in a background thread, with the limits of its options."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from clearsight.core.errors import BadBundle
from clearsight.serving.request_body import Limits
from clearsight.testing.mean_colour import CLASSES, make_bundle
from clearsight.workflow.export import export
from clearsight.workflow.serve import ServeOptions, serving
from tests.workflow.colour_images import write_image


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle")).path


def invoke(url: str, body: bytes) -> httpx.Response:
    return httpx.post(f"{url}/invocations", content=body, headers={"Content-Type": "image/png"}, trust_env=False)


def test_a_packed_bundle_is_served(bundle: Path, tmp_path: Path) -> None:
    archive = export(bundle, tmp_path / "model.tar.gz")
    with serving(archive, ServeOptions(port=0)) as url:
        assert httpx.get(f"{url}/ping", trust_env=False).status_code == 200
        response = invoke(url, write_image(tmp_path / "a.png", "red").read_bytes())
    assert (response.status_code, response.json()["label"]) == (200, CLASSES[0])


def test_limits_are_those_of_the_options(bundle: Path, tmp_path: Path) -> None:
    options = ServeOptions(port=0, max_pixels=400, limits=Limits(body_bytes=5000))
    with serving(bundle, options) as url:
        small, large = (write_image(tmp_path / f"{size}.png", "red", size).read_bytes() for size in (20, 21))
        assert invoke(url, small).status_code == 200
        assert "limit" in invoke(url, large).json()["error"]
        assert invoke(url, bytes(5001)).status_code == 413


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match=r"bundle\.json is missing"), serving(tmp_path, ServeOptions(port=0)):
        pytest.fail("it serves")
