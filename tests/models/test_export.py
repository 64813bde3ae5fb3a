"""ONNX: one file, any number of images, the same logits, and an unchanged network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from clearsight.core.errors import BadBundle
from clearsight.models import export
from clearsight.models.export import OPSET, detached, onnx_session, serialise, to_onnx
from clearsight.models.freeze import freeze
from clearsight.models.zoo import ModelSpec, build


def test_names_and_shapes_of_the_file(tmp_path: Path) -> None:
    to_onnx(build(ModelSpec(model="tiny", classes=3)), tmp_path / "m.onnx", 32)
    model = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    (images,), (logits,) = model.graph.input, model.graph.output
    assert (images.name, logits.name) == ("images", "logits")
    assert [dim.dim_param or dim.dim_value for dim in images.type.tensor_type.shape.dim] == ["N", 3, 32, 32]
    assert images.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert model.opset_import[0].version == OPSET
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"], "no external data beside it"


@pytest.mark.parametrize("count", [1, 2, 7])
def test_any_number_of_images_gets_the_networks_logits(tmp_path: Path, count: int) -> None:
    network = build(ModelSpec(model="tiny", classes=3, head=(16,), dropout=0.5))
    to_onnx(network, tmp_path / "m.onnx", 32)
    images = torch.randn(count, 3, 32, 32)
    with torch.inference_mode():
        expected = network.model.eval()(images).numpy()
    logits = onnx_session((tmp_path / "m.onnx").read_bytes())(images.numpy())
    np.testing.assert_allclose(logits, expected, atol=1e-6)


def test_the_network_does_not_change(tmp_path: Path) -> None:
    network = build(ModelSpec(model="tiny", classes=3))
    frozen = freeze(network, "2")
    before = {key: value.clone() for key, value in network.model.state_dict().items()}
    modes = [part.training for part in network.model.modules()]
    with network.model.register_forward_hook(lambda *_: pytest.fail("a hook fired")):
        to_onnx(network, tmp_path / "m.onnx", 32)
    assert [part.training for part in network.model.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in network.model.state_dict().items())
    assert len(frozen.parameters()) == 5


def test_a_transformer_at_another_size(tmp_path: Path) -> None:
    network = build(ModelSpec(model="timm/vit_tiny_patch16_224", classes=3))
    to_onnx(network, tmp_path / "m.onnx", 96)
    images = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        expected = network.model.eval()(images).numpy()
    np.testing.assert_allclose(onnx_session((tmp_path / "m.onnx").read_bytes())(images.numpy()), expected, atol=1e-5)


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # At 64 pixels the first exporter gives up on AlexNet's pooling and dumps its graph; the second one takes over.
    to_onnx(build(ModelSpec(model="alexnet", classes=3)), tmp_path / "m.onnx", 64)
    print("heard")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("heard\n", "")


class Shifty(nn.Module):
    """Its ONNX file cannot agree with it: the graph is drawn once, the answer changes with every call."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.calls = nn.Linear(3, 2), 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.fc(images.mean((2, 3))) + self.calls


def test_a_file_with_other_logits_is_not_written(tmp_path: Path) -> None:
    network = build(ModelSpec(model="tiny", classes=3))
    shifty = type(network)(**{**network.__dict__, "model": Shifty()})
    with pytest.raises(BadBundle, match="tiny: its ONNX file gives other logits than the network"):
        to_onnx(shifty, tmp_path / "m.onnx", 32)
    assert not list(tmp_path.iterdir())


def test_a_wrong_file_with_large_logits_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = build(ModelSpec(model="tiny", classes=3))
    honest = export.onnx_session
    monkeypatch.setattr(export, "onnx_session", lambda data: lambda batch: 1.01 * honest(data)(batch))
    with pytest.raises(BadBundle, match="gives other logits"):
        to_onnx(network, tmp_path / "m.onnx", 32)


def test_rounding_alone_is_accepted_however_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(export, "_TOLERANCE", 0.0)  # as if rounding had been amplified beyond it
    to_onnx(build(ModelSpec(model="tiny", classes=3)), tmp_path / "m.onnx", 32)
    assert (tmp_path / "m.onnx").is_file()


def test_a_network_that_onnx_cannot_express_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise torch.onnx.errors.UnsupportedOperatorError("aten::unheard_of", 17, None)

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(BadBundle, match=r"tiny: it cannot be expressed in ONNX .*unheard_of"):
        to_onnx(build(ModelSpec(model="tiny", classes=3)), tmp_path / "m.onnx", 32)


def test_a_detached_copy_is_free_of_hooks_modes_and_layout() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout()).to(memory_format=torch.channels_last)
    module.register_forward_hook(lambda *_: pytest.fail("a hook fired"))
    twin = detached(module, 8)
    twin(torch.zeros(1, 3, 8, 8))
    assert not any(part.training for part in twin.modules())
    assert all(parameter.is_contiguous() for parameter in twin.parameters())
    assert module.training
    assert isinstance(serialise(twin, torch.zeros(2, 3, 8, 8)), bytes)
