"""Bundles: the same network comes back, in equal bytes, and serves without torch."""

from __future__ import annotations

import ast
import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clearsight.core.bundle import Bundle
from clearsight.core.errors import BadBundle
from clearsight.models import bundle as bundles
from clearsight.models.bundle import load, save
from clearsight.models.network import Network
from clearsight.models.zoo import ModelSpec, build

CLASSES = ("cat", "dog", "owl")


def network(**settings: object) -> Network:
    return build(ModelSpec(model="tiny", classes=3, **settings))  # type: ignore[arg-type]


def manifest(net: Network, **facts: object) -> Bundle:
    return Bundle(model=net.name, classes=CLASSES, preprocess=net.preprocess, **facts)  # type: ignore[arg-type]


def test_head_and_preprocessing_come_back(tmp_path: Path) -> None:
    net = network(head=(16, 8), dropout=0.25, seed=4)
    preprocess = net.preprocess.model_copy(update={"mean": (0.1, 0.2, 0.3), "source": "flags"})
    facts = {"head": (16, 8), "dropout": 0.25}
    save(net, manifest(net, **facts).model_copy(update={"preprocess": preprocess}), tmp_path)
    loaded = load(Bundle.open(tmp_path))
    images = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.model(images), net.model.eval()(images))
    assert loaded.preprocess == preprocess
    assert loaded.weights == f"the bundle {tmp_path}"
    assert not any(part.training for part in loaded.model.modules())


def test_it_holds_weights_onnx_entry_points_and_a_manifest(tmp_path: Path) -> None:
    net = network()
    sealed = save(net, manifest(net), tmp_path)
    assert sorted(sealed.files) == ["code/inference.py", "model.onnx", "model.safetensors"]
    assert Bundle.open(tmp_path).classes == CLASSES


def test_equal_networks_give_equal_bytes(tmp_path: Path) -> None:
    archives = []
    for name in "ab":
        net = network(seed=1)
        archives.append(save(net, manifest(net), tmp_path / name).pack(tmp_path / f"{name}.tar.gz").read_bytes())
    assert archives[0] == archives[1]


def test_its_weights_are_a_good_weights_file(tmp_path: Path) -> None:
    net = network(seed=1)
    preprocess = net.preprocess.model_copy(update={"size": 24, "resize": 28, "mean": (0.1, 0.2, 0.3)})
    save(net, manifest(net).model_copy(update={"preprocess": preprocess}), tmp_path)
    loaded = build(ModelSpec(model="tiny", classes=7, weights=str(tmp_path / "model.safetensors")))
    assert torch.equal(loaded.model.state_dict()["stem.0.weight"], net.model.state_dict()["stem.0.weight"])
    assert (loaded.preprocess.size, loaded.preprocess.resize, loaded.preprocess.mean) == (24, 28, (0.1, 0.2, 0.3))


def test_weights_that_do_not_fit_the_manifest_are_one_sentence(tmp_path: Path) -> None:
    net = network()
    save(net, manifest(net, head=(16,)), tmp_path)
    with pytest.raises(BadBundle, match="its weights do not fit tiny as its manifest describes it"):
        load(Bundle.open(tmp_path))


def test_an_unknown_model_is_one_sentence(tmp_path: Path) -> None:
    net = network()
    sealed = save(net, manifest(net), tmp_path)
    with pytest.raises(BadBundle, match=r"its network cannot be rebuilt \(--model tinny: there is no model"):
        load(sealed.model_copy(update={"model": "tinny"}))


def test_while_it_is_written_there_is_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    save(net, manifest(net), tmp_path)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundles, "_write_weights", crash)
    with pytest.raises(KeyboardInterrupt):
        save(net, manifest(net), tmp_path)
    with pytest.raises(BadBundle, match=r"bundle\.json is missing"):
        Bundle.open(tmp_path)


def test_without_onnx_the_rest_is_saved_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(net: Network, *_: object) -> None:
        raise BadBundle(net.name, "it cannot be expressed in ONNX")

    monkeypatch.setattr(bundles, "to_onnx", refuse)
    net = network()
    with caplog.at_level(logging.WARNING):
        save(net, manifest(net), tmp_path)
    assert "tiny: it cannot be expressed in ONNX. The bundle in" in caplog.text
    assert load(Bundle.open(tmp_path)).name == "tiny"


# code/inference.py as versions up to 0.1.0 wrote it: bundles with this text are deployed, and must keep working.
EARLIER_ENTRY_POINTS = '''"""Entry points for SageMaker-style containers; written by clearsight beside the model."""

from functools import partial
from pathlib import Path

import numpy as np

from clearsight.core.bundle import Bundle
from clearsight.data.geometry import prepare
from clearsight.serving.codecs import ACCEPTS, CODECS
from clearsight.serving.negotiation import answering, reading
from clearsight.serving.payload import Answer
from clearsight.serving.predictor import load


def model_fn(model_dir):
    """The predictor for the bundle in `model_dir`; runs on onnxruntime, torch is not imported."""
    bundle = Bundle.open(Path(model_dir))
    return load(bundle, partial(prepare, preprocess=bundle.preprocess))


def input_fn(request_body, content_type="application/octet-stream"):
    """The pictures in a request: an encoded image, JSON with base64, or an NPY array."""
    body = request_body.encode() if isinstance(request_body, str) else bytes(request_body)
    return CODECS.load(reading(content_type, body, CODECS.names()))(body)


def predict_fn(payload, predictor):
    """Class probabilities of every picture."""
    images = np.stack([predictor.prepared(picture) for picture in payload.pictures])
    probabilities = predictor.probabilities(images)
    return Answer(classes=predictor.bundle.classes, probabilities=probabilities, batch=payload.batch)


def output_fn(answer, accept="application/json"):
    """The answer as bytes and its media type."""
    media_type = answering(accept, ACCEPTS.names())
    return ACCEPTS.load(media_type)(answer), media_type
'''

_CONTAINER = """
import json, sys
sys.path.insert(0, sys.argv[1] + "/code")
import inference
predictor = inference.model_fn(sys.argv[1])
payload = inference.input_fn(open(sys.argv[2], "rb").read(), "image/png")
body, media_type = inference.output_fn(inference.predict_fn(payload, predictor), "application/json")
assert "torch" not in sys.modules
json.dump([media_type, json.loads(body)["probabilities"]], sys.stdout)
"""


@pytest.mark.parametrize("entry_points", [None, EARLIER_ENTRY_POINTS], ids=["written now", "written by 0.1.0"])
def test_its_entry_points_predict_like_the_network_and_load_no_torch(tmp_path: Path, entry_points: str | None) -> None:
    net = network(seed=2)
    sealed = save(net, manifest(net), tmp_path / "model")
    if entry_points is not None:
        (tmp_path / "model" / "code" / "inference.py").write_text(entry_points)
        sealed.seal(tmp_path / "model")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    command = [sys.executable, "-c", _CONTAINER, str(tmp_path / "model"), str(tmp_path / "image.png")]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    media_type, probabilities = json.loads(process.stdout)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        expected = net.model.eval()(images).softmax(1)[0]
    assert media_type == "application/json"
    assert [probabilities[name] for name in CLASSES] == pytest.approx(expected.tolist(), abs=1e-5)


def test_its_entry_points_import_one_module_of_clearsight(tmp_path: Path) -> None:
    """Everything else may be renamed without breaking bundles on disk."""
    net = network()
    save(net, manifest(net), tmp_path)
    tree = ast.parse((tmp_path / "code" / "inference.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [node.module for node in imports if isinstance(node, ast.ImportFrom)] == ["clearsight.workflow.inference"]
    assert len(imports) == 1
