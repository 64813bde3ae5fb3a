"""The predictor computes probabilities; its canary checks the model before it serves."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from clearsight.core.bundle import Bundle
from clearsight.core.errors import BadBundle, BadChoice, BadImage, BadShape, EmptyInput
from clearsight.serving.payload import Prepared
from clearsight.serving.predictor import Predictor, load, synthetic_png
from clearsight.testing.mean_colour import CLASSES, SIZE, expected, make_bundle, prepare


class FunctionSession:
    """A session whose logits are a function of the batch."""

    def __init__(self, logits: object) -> None:
        self.logits = logits

    def run(self, images: Prepared) -> npt.NDArray[np.float32]:
        return np.asarray(self.logits(images), dtype=np.float32)  # type: ignore[operator]


def test_probabilities_of_real_images(predictor: Predictor, photos: list[bytes]) -> None:
    images = np.stack([predictor.prepared(photo) for photo in photos])
    rows = predictor.probabilities(images)
    np.testing.assert_allclose(rows, [expected(photo) for photo in photos], rtol=1e-4)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-12)


def test_temperature_divides_the_logits(tmp_path: Path, predictor: Predictor, photo: bytes) -> None:
    image = predictor.prepared(photo)[None]
    cooler = load(make_bundle(tmp_path / "b", temperature=2.0), prepare).probabilities(image)
    powers = np.sqrt(predictor.probabilities(image))
    np.testing.assert_allclose(cooler, powers / powers.sum(), rtol=1e-6)


def test_huge_logits_do_not_overflow(predictor: Predictor) -> None:
    confident = replace(predictor, session=FunctionSession(lambda images: [[3e38, -3e38, 0, 0]] * len(images)))
    np.testing.assert_array_equal(confident.probabilities(np.zeros((1, 3, SIZE, SIZE), np.float32)), [[1, 0, 0, 0]])


def test_pixels_and_prepared_floats_are_images_too(predictor: Predictor, photo: bytes) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"))
    np.testing.assert_array_equal(predictor.prepared(pixels), prepare(pixels))
    floats = prepare(photo)
    np.testing.assert_array_equal(predictor.prepared(floats), floats)


def test_input_that_is_no_image_is_refused(predictor: Predictor) -> None:
    with pytest.raises(BadImage):
        predictor.prepared(b"no image")
    with pytest.raises(EmptyInput):
        predictor.prepared(b"")
    with pytest.raises(BadShape, match=rf"\(3, {SIZE}, {SIZE}\)"):
        predictor.prepared(np.zeros((3, SIZE + 1, SIZE), np.float32))


def test_a_record_has_class_names_and_a_ranking(predictor: Predictor) -> None:
    entry = predictor.record(np.array([0.1, 0.2, 0.3, 0.4]), top_k=2)
    assert entry["label"] == CLASSES[3]
    assert [entry["label"] for entry in entry["top"]] == [CLASSES[3], CLASSES[2]]


def test_the_canary_of_a_good_model_passes(predictor: Predictor) -> None:
    predictor.canary()


@pytest.mark.parametrize(
    ("logits", "reason"),
    [
        (lambda images: np.zeros((len(images), 7)), "gives 7 numbers for 4 classes"),
        (lambda images: np.full((len(images), 4), np.nan), "not finite"),
        (lambda images: np.full((len(images), 4), np.inf), "not finite"),
        (lambda images: [[len(images), 0, 0, 0]] * len(images), "in a batch than for the image alone"),
    ],
)
def test_the_canary_of_a_bad_model_says_what_is_wrong(predictor: Predictor, logits: object, reason: str) -> None:
    with pytest.raises(BadBundle, match=reason):
        replace(predictor, session=FunctionSession(logits)).canary()


def test_the_canary_goes_through_the_decoder(predictor: Predictor) -> None:
    def blind(raw: object) -> Prepared:
        raise BadImage("image", "no decoder")

    with pytest.raises(BadImage, match="no decoder"):
        replace(predictor, prepare=blind).canary()


def test_the_synthetic_image_is_a_valid_png() -> None:
    with Image.open(io.BytesIO(synthetic_png(32))) as image:
        image.load()
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (32, 32))
        assert len(np.unique(np.asarray(image).reshape(-1, 3), axis=0)) > 500


def test_a_bundle_without_onnx_cannot_be_served(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    bundle.onnx.unlink()
    with pytest.raises(BadBundle, match=r"it holds no model\.onnx"):
        load(bundle, prepare)


def test_an_unknown_runtime_is_refused(bundle: Bundle) -> None:
    with pytest.raises(BadChoice, match="Did you mean openvino"):
        load(bundle, prepare, runtime="openvin")


def test_a_bundle_with_fewer_classes_than_outputs_is_refused_when_it_is_opened(bundle: Bundle) -> None:
    with pytest.raises(BadBundle, match="its network has 4 outputs for 2 classes"):
        load(bundle.model_copy(update={"classes": ("one", "two")}), prepare)


class FixedSize:
    """A network for one size, as ONNX files of other programs are."""

    def run(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        raise RuntimeError("wrong size")


def test_a_bundle_whose_network_takes_another_size_is_refused_when_it_is_opened(bundle: Bundle) -> None:
    other = bundle.preprocess.model_copy(update={"size": 8, "resize": 8})
    broken = Predictor(bundle.model_copy(update={"preprocess": other}), FixedSize(), prepare)
    with pytest.raises(BadBundle, match=r"its network cannot classify an image of 8 x 8 pixels \(wrong size\)"):
        broken.check_outputs()
