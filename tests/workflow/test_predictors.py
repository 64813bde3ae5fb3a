"""`open_predictor` joins a bundle with its preprocessing, on a runtime without torch or on torch for GPUs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clearsight.core.bundle import Bundle
from clearsight.core.errors import BadBundle, BadChoice, BadImage
from clearsight.testing.mean_colour import CLASSES, make_bundle
from clearsight.workflow import predictors
from clearsight.workflow.predictors import open_predictor
from tests.workflow.colour_images import write_image


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


def test_a_file_is_prepared_as_the_bundle_states(bundle: Bundle, tmp_path: Path) -> None:
    predictor = open_predictor(bundle)
    image = predictor.prepared(write_image(tmp_path / "a.png", "green").read_bytes())
    assert (image.shape, image.dtype) == ((3, bundle.preprocess.size, bundle.preprocess.size), np.float32)
    expected = (np.array([0, 1, 0]) - np.array(bundle.preprocess.mean)) / np.array(bundle.preprocess.std)
    np.testing.assert_allclose(image.mean(axis=(1, 2)), expected, rtol=1e-5)
    assert predictor.probabilities(image[None]).argmax() == CLASSES.index("green")


def test_the_pixel_limit_holds(bundle: Bundle, tmp_path: Path) -> None:
    data = write_image(tmp_path / "a.png", "red", 30).read_bytes()
    with pytest.raises(BadImage, match="limit"):
        open_predictor(bundle, max_pixels=30 * 30 - 1).prepared(data)


def test_an_unknown_runtime_is_refused(bundle: Bundle) -> None:
    with pytest.raises(BadChoice, match="Did you mean onnxruntime"):
        open_predictor(bundle, runtime="onnxruntim")


def test_a_bundle_without_onnx_runs_in_torch_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from clearsight.models.bundle import save_weights
    from clearsight.models.zoo import ModelSpec, build

    network = build(ModelSpec(model="tiny", classes=3))
    manifest = Bundle(model="tiny", classes=("a", "b", "c"), preprocess=network.preprocess)
    bundle = save_weights(network, manifest, tmp_path / "bundle")
    predictor = open_predictor(bundle, threads=1)
    assert caplog.messages == [f"{bundle.path} has no model.onnx; torch runs its network instead."]
    before = torch.get_num_threads()
    predictor.canary()
    assert torch.get_num_threads() == before, "the number of threads is the process's"
    with pytest.raises(BadBundle, match=r"it holds no model\.onnx"):
        open_predictor(bundle, runtime="openvino")  # asked for by name


def test_torch_gives_the_probabilities_of_the_runtime(tmp_path: Path) -> None:
    """The session for GPUs runs on the CPU here; it reads the same weights from another file of the bundle."""
    from clearsight.models.bundle import save
    from clearsight.models.zoo import ModelSpec, build

    network = build(ModelSpec(model="tiny", classes=3))
    bundle = save(
        network, Bundle(model="tiny", classes=("a", "b", "c"), preprocess=network.preprocess), tmp_path / "bundle"
    )
    runtime = open_predictor(bundle)
    stream = io.BytesIO()
    Image.effect_noise((40, 40), 90).convert("RGB").save(stream, "PNG")
    images = runtime.prepared(stream.getvalue())[None]
    session = predictors._TorchSession(bundle, "cpu")
    np.testing.assert_allclose(session.run(images), runtime.session.run(images), rtol=1e-3, atol=1e-4)


def test_features_are_what_the_head_gets(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    import torch

    from clearsight.models import bundle as bundles
    from clearsight.models.zoo import ModelSpec, build

    network = build(ModelSpec(model="tiny", classes=3, head=(8,)))
    network.model.eval()
    monkeypatch.setattr(bundles, "load", lambda bundle: network)
    images = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    features = predictors.open_features(bundle)(images)
    assert features.shape == (2, network.features)
    with torch.inference_mode():
        logits = network.head(torch.from_numpy(features))
        np.testing.assert_allclose(logits, network.model(torch.from_numpy(images)), rtol=1e-5, atol=1e-6)
