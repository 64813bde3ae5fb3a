"""Explanations of images: the segments that hold the object get the attributions."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from clearsight_sagemaker.clarify.analysis import ImageAnalysis
from clearsight_sagemaker.clarify.analysis_config import AnalysisConfig
from clearsight_sagemaker.clarify.segments import segment_image
from clearsight_sagemaker.training.failure import JobFailed


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes
    content_type: str


class BrightCorner:
    """A model that knows one thing: how bright the upper left quarter of an image is. It counts its requests."""

    def __init__(self, respond: Callable[[list[list[float]]], Response] | None = None) -> None:
        self.requests = 0
        self._respond = respond or (lambda rows: Response(200, json.dumps(rows).encode(), "application/json"))

    def invoke(self, body: bytes, content_type: str, accept: str, timeout: float, /) -> Response:
        self.requests += 1
        if content_type == "application/x-npy":
            images = np.load(io.BytesIO(body))
        else:
            images = np.asarray(Image.open(io.BytesIO(body)))[None]
        height, width = images.shape[1:3]
        bright = images[:, : height // 2, : width // 2].mean(axis=(1, 2, 3)) / 255
        return self._respond([[float(value), float(1 - value)] for value in bright])


def analysis_config(*, report: bool, **predictor: Any) -> dict[str, Any]:
    return {
        "dataset_type": "application/x-image",
        "methods": {
            "shap": {"num_samples": 60, "seed": 3, "image_config": {"model_type": "IMAGE_CLASSIFICATION"}},
            **({"report": {"name": "report", "title": "Corners"}} if report else {}),
        },
        "predictor": {
            "model_name": "corner",
            "content_type": "application/x-npy",
            "label_headers": ["bright", "dark"],
            **predictor,
        },
    }


def analyse(
    folder: Path,
    output: Path,
    model: BrightCorner,
    log: list[str] | None = None,
    report: bool = False,
    **predictor: Any,
) -> dict[str, Any]:
    """Explain the images of a folder against a black baseline; return analysis.json's images by name."""
    ImageAnalysis(
        config=AnalysisConfig.of(analysis_config(report=report, **predictor)),
        data=folder,
        output=output,
        baseline=np.zeros((4, 4, 3), dtype=np.uint8),
        log=(log if log is not None else []).append,
        check=lambda: None,
    ).run(model)
    analysis = json.loads((output / "analysis.json").read_text())
    return {entry["image"]: entry for entry in analysis["explanations"]["kernel_shap"]["images"]}


@pytest.fixture
def photos(scenes: Path, tmp_path: Path) -> Path:
    """A folder with a photograph and one that is brighter in its upper left quarter than elsewhere."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    path = sorted((scenes / "seg_train" / "forest").glob("*.jpg"))[0]
    image = np.asarray(Image.open(path).convert("RGB"))
    Image.fromarray(image).save(folder / "deep" / "forest.jpg", quality=95)
    bright = image // 4
    bright[: image.shape[0] // 2, : image.shape[1] // 2] = 230
    Image.fromarray(bright).save(folder / "corner.png")
    return folder


def test_the_bright_corner_gets_the_attributions(photos: Path, tmp_path: Path) -> None:
    log: list[str] = []
    found = analyse(photos, tmp_path / "out", BrightCorner(), log)["corner.png"]
    assert found["predicted_label"] == "bright"
    heat = np.load(tmp_path / "out" / "explanations_shap" / "corner.png.npy")
    corner = heat[: heat.shape[0] // 2, : heat.shape[1] // 2]
    assert corner.mean() > 20 * np.abs(heat[heat.shape[0] // 2 :, heat.shape[1] // 2 :]).mean()
    for label in ("bright", "dark"):
        gain = found["scores"][label] - found["baseline_scores"][label]
        assert sum(found["shap_values"][label]) == pytest.approx(gain)
    assert any(line.startswith("1 of 2: corner.png: bright ") for line in log)


def test_the_files_of_an_analysis(photos: Path, tmp_path: Path) -> None:
    (photos / "notes.txt").write_text("no image")
    log: list[str] = []
    analyse(photos, tmp_path / "out", BrightCorner(), log, report=True)
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert files - {"report.pdf"} == {
        *("analysis.json", "report.html", "corner.jpeg", "deep/forest.jpeg"),
        *("explanations_shap/out.csv", "explanations_shap/corner.png.npy", "explanations_shap/deep/forest.jpg.npy"),
    }
    assert ("report.pdf" in files) != any("no report.pdf" in line for line in log)
    assert "1 files of the dataset are no images and are left out." in log
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    drawn = np.asarray(Image.open(tmp_path / "out" / "corner.jpeg").convert("RGB")).astype(int)
    right = drawn[40:, drawn.shape[1] // 2 + 10 :]
    corner = right[: right.shape[0] // 3, : right.shape[1] // 3]
    assert (corner[..., 2] - corner[..., 0]).mean() > 50, "what raises the score is blue"


def test_the_same_seed_gives_the_same_files_in_any_dataset(photos: Path, tmp_path: Path) -> None:
    both = analyse(photos, tmp_path / "both", BrightCorner())
    (photos / "corner.png").unlink()
    alone = analyse(photos, tmp_path / "alone", BrightCorner())
    assert both["deep/forest.jpg"] == alone["deep/forest.jpg"]


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/png"])
def test_one_request_for_an_image(photos: Path, tmp_path: Path, content_type: str) -> None:
    model = BrightCorner()
    found = analyse(photos, tmp_path / "out", model, content_type=content_type)
    assert model.requests >= 60
    assert found["corner.png"]["predicted_label"] == "bright"


@pytest.mark.parametrize(
    ("respond", "predictor"),
    [
        (lambda rows: Response(200, "\n".join(f"{a},{b}" for a, b in rows).encode(), "text/csv"), {}),
        (
            lambda rows: Response(200, json.dumps({"out": [{"p": row} for row in rows]}).encode(), "application/json"),
            {"probability": "out[].p"},
        ),
        (
            lambda rows: Response(
                200, json.dumps([{"bright": a, "dark": b} for a, b in rows]).encode(), "application/json"
            ),
            {},
        ),
    ],
)
def test_formats_of_scores(
    photos: Path, tmp_path: Path, respond: Callable[[list[list[float]]], Response], predictor: dict[str, Any]
) -> None:
    expected = analyse(photos, tmp_path / "lists", BrightCorner())
    assert analyse(photos, tmp_path / "out", BrightCorner(respond), **predictor) == expected


@pytest.mark.parametrize(
    ("respond", "predictor", "sentence"),
    [
        (lambda rows: Response(500, b"boom", "text/plain"), {}, "the model responds with status 500: boom"),
        (lambda rows: Response(200, b"cat", "application/json"), {}, "holds no scores"),
        (lambda rows: Response(200, b"PK\x03\x04", "application/x-npy"), {}, "holds no scores"),
        (lambda rows: Response(200, b"[[1, null]]", "application/json"), {}, "holds no scores"),
        (lambda rows: Response(200, b"[[NaN, 1]]", "application/json"), {"content_type": "image/png"}, "not finite"),
        (None, {"label_headers": ["a", "b", "c"]}, "label_headers has 3 names, and the model gives 2 scores."),
        (None, {"content_type": "image/gif"}, "Allowed: image/jpeg, image/png, application/x-npy."),
        (None, {"endpoint_name": "e"}, "it must have model_name or endpoint_name, and not both."),
    ],
)
def test_what_cannot_be_explained(
    photos: Path, tmp_path: Path, respond: Any, predictor: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(JobFailed, match="ClientError") as failure:
        analyse(photos, tmp_path / "out", BrightCorner(respond), **predictor)
    assert sentence in failure.value.reason


def test_a_file_that_is_no_image_fails_the_job_by_its_name(photos: Path, tmp_path: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(JobFailed, match=r"broken\.jpg is not a JPEG or PNG image that can be read"):
        analyse(photos, tmp_path / "out", BrightCorner())


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 60), width=st.integers(1, 60), count=st.integers(1, 30), seed=st.integers(0, 5))
def test_segments_are_connected_and_cover_the_image(height: int, width: int, count: int, seed: int) -> None:
    image: npt.NDArray[np.uint8] = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    segments = segment_image(image, count, 5.0)
    assert segments.shape == (height, width)
    assert set(np.unique(segments)) == set(range(segments.max() + 1))
    pieces = [ndimage.label(segments == number, np.ones((3, 3)))[1] for number in range(segments.max() + 1)]
    assert pieces == [1] * len(pieces)


def test_a_photograph_has_about_as_many_segments_as_were_requested(scenes: Path) -> None:
    for path in sorted((scenes / "seg_train" / "forest").glob("*.jpg"))[:3]:
        image = np.asarray(Image.open(path).convert("RGB"))
        assert 12 <= segment_image(image, 20, 5.0).max() + 1 <= 30
