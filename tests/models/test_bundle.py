"""Bundles: the same network comes back, in equal bytes, and serves without torch."""

from __future__ import annotations

import io
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


def manifest(own: Network, **facts: object) -> Bundle:
    return Bundle(model=own.name, classes=CLASSES, preprocess=own.preprocess, **facts)  # type: ignore[arg-type]


def test_head_and_preprocessing_come_back(tmp_path: Path) -> None:
    own = network(head=(16, 8), dropout=0.25, seed=4)
    preprocess = own.preprocess.model_copy(update={"mean": (0.1, 0.2, 0.3), "source": "flags"})
    facts = {"head": (16, 8), "dropout": 0.25}
    save(own, manifest(own, **facts).model_copy(update={"preprocess": preprocess}), tmp_path)
    again = load(Bundle.open(tmp_path))
    images = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(again.model(images), own.model.eval()(images))
    assert again.preprocess == preprocess
    assert again.weights == f"the bundle {tmp_path}"
    assert not any(part.training for part in again.model.modules())


def test_it_holds_weights_onnx_entry_points_and_a_manifest(tmp_path: Path) -> None:
    own = network()
    sealed = save(own, manifest(own), tmp_path)
    assert sorted(sealed.files) == ["code/inference.py", "model.onnx", "model.safetensors"]
    assert Bundle.open(tmp_path).classes == CLASSES


def test_equal_networks_give_equal_bytes(tmp_path: Path) -> None:
    archives = []
    for name in "ab":
        own = network(seed=1)
        archives.append(save(own, manifest(own), tmp_path / name).pack(tmp_path / f"{name}.tar.gz").read_bytes())
    assert archives[0] == archives[1]


def test_its_weights_are_a_good_weights_file(tmp_path: Path) -> None:
    own = network(seed=1)
    preprocess = own.preprocess.model_copy(update={"size": 24, "resize": 28, "mean": (0.1, 0.2, 0.3)})
    save(own, manifest(own).model_copy(update={"preprocess": preprocess}), tmp_path)
    again = build(ModelSpec(model="tiny", classes=7, weights=str(tmp_path / "model.safetensors")))
    assert torch.equal(again.model.state_dict()["stem.0.weight"], own.model.state_dict()["stem.0.weight"])
    assert (again.preprocess.size, again.preprocess.resize, again.preprocess.mean) == (24, 28, (0.1, 0.2, 0.3))


def test_weights_that_do_not_fit_the_manifest_are_said(tmp_path: Path) -> None:
    own = network()
    save(own, manifest(own, head=(16,)), tmp_path)
    with pytest.raises(BadBundle, match="its weights do not fit tiny as its manifest describes it"):
        load(Bundle.open(tmp_path))


def test_an_unknown_model_is_said(tmp_path: Path) -> None:
    own = network()
    sealed = save(own, manifest(own), tmp_path)
    with pytest.raises(BadBundle, match=r"its network cannot be rebuilt \(--model tinny: there is no model"):
        load(sealed.model_copy(update={"model": "tinny"}))


def test_while_it_is_written_there_is_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = network()
    save(own, manifest(own), tmp_path)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundles, "to_onnx", crash)
    with pytest.raises(KeyboardInterrupt):
        save(own, manifest(own), tmp_path)
    with pytest.raises(BadBundle, match=r"bundle\.json is missing"):
        Bundle.open(tmp_path)


def test_without_onnx_the_rest_is_saved_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(own: Network, *_: object) -> None:
        raise BadBundle(own.name, "it cannot be expressed in ONNX")

    monkeypatch.setattr(bundles, "to_onnx", refuse)
    own = network()
    with caplog.at_level(logging.WARNING):
        save(own, manifest(own), tmp_path)
    assert "tiny: it cannot be expressed in ONNX. Serving needs model.onnx" in caplog.text
    assert load(Bundle.open(tmp_path)).name == "tiny"


_CONTAINER = """
import json, sys
sys.path.insert(0, sys.argv[1] + "/code")
import inference
predictor = inference.model_fn(sys.argv[1])
payload = inference.input_fn(open(sys.argv[2], "rb").read(), "image/png")
body, kind = inference.output_fn(inference.predict_fn(payload, predictor), "application/json")
assert "torch" not in sys.modules
print(kind, json.loads(body)["probabilities"])
"""


def test_its_entry_points_answer_like_the_network_and_load_no_torch(tmp_path: Path) -> None:
    own = network(seed=2)
    save(own, manifest(own), tmp_path / "model")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    (tmp_path / "p.png").write_bytes(stream.getvalue())
    command = [sys.executable, "-c", _CONTAINER, str(tmp_path / "model"), str(tmp_path / "p.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kind, _, answer = done.stdout.strip().partition(" ")
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        wanted = own.model.eval()(images).softmax(1)[0]
    assert kind == "application/json"
    got = [float(value) for value in answer.strip("{}").replace(":", ",").split(",")[1::2]]
    assert got == pytest.approx(wanted.tolist(), abs=1e-5)
