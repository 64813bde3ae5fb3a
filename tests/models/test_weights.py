"""Weights: files, folders and downloads; the preprocessing that belongs to them; and files that are not weights."""

from __future__ import annotations

import contextlib
import json
import pickle
import time
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from clearsight.core.errors import BadValue, NotFound, WeightsUnavailable
from clearsight.models.hub import PROBE_SECONDS
from clearsight.models.network import Network
from clearsight.models.weights import read
from clearsight.models.weights_file import candidates
from clearsight.models.zoo import ModelSpec, build
from tests.models.servers import silent_server


@pytest.fixture
def mobilenet(shared: Path) -> Path:
    return shared / "weights/mobilenetv2_100_imagenet.safetensors"


def build_tiny(weights: Path | str, classes: int = 3) -> Network:
    return build(ModelSpec(model="tiny", classes=classes, weights=str(weights)))


@pytest.fixture
def tiny_state() -> dict[str, torch.Tensor]:
    return build(ModelSpec(model="tiny", classes=3, seed=9)).model.state_dict()


# --- what comes out of a file


def test_mean_and_size_come_from_the_metadata(mobilenet: Path) -> None:
    network = build(ModelSpec(model="timm/mobilenetv2_100", classes=6, weights=str(mobilenet)))
    assert (network.preprocess.mean, network.preprocess.std) == ((0.5,) * 3, (0.5,) * 3)
    assert (network.preprocess.size, network.preprocess.resize) == (224, 256)
    assert network.weights == (
        f"{mobilenet}; mean 0.5/0.5/0.5, std 0.5/0.5/0.5, size 224 from the metadata of {mobilenet.name}"
    )


def test_the_imagenet_classifier_still_recognises_images(shared: Path) -> None:
    """All of the file but its classifier goes into a network of six classes, all of it into one of a thousand."""
    file = shared / "weights/mobilenetv1_025_128_imagenet.safetensors"
    network = build(ModelSpec(model="mobilenetv1_025", classes=1000, weights=str(file)))
    rows = (shared / "data/imagenet-sample/labels.csv").read_text().splitlines()[1:]
    pixels, expected = [], []
    for row in rows[:60]:
        name, _, index, _ = row.split(",", 3)
        image = Image.open(next((shared / "data/imagenet-sample").rglob(name))).convert("RGB")
        left, top = ((side - 224) // 2 for side in image.size)
        pixels.append(np.asarray(image.crop((left, top, left + 224, top + 224)).resize((128, 128))))
        expected.append(int(index))
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        right = (network.model.eval()(images).argmax(1) == torch.tensor(expected)).float().mean().item()
    assert right > 0.2, "chance is 0.001"


def test_a_classifier_of_other_classes_is_left_out(tmp_path: Path, tiny_state: dict[str, torch.Tensor]) -> None:
    save_file(tiny_state, tmp_path / "t.safetensors")
    same, other = build_tiny(tmp_path / "t.safetensors", 3), build_tiny(tmp_path / "t.safetensors", 5)
    assert torch.equal(same.head.state_dict()["weight"], tiny_state["fc.weight"])
    assert other.head.state_dict()["weight"].shape == (5, 128)
    key = "block1.1.weight"
    assert torch.equal(same.model.state_dict()[key], tiny_state[key])
    assert torch.equal(other.model.state_dict()[key], tiny_state[key])


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_pth_files_in_the_usual_wrappings(
    tmp_path: Path, tiny_state: dict[str, torch.Tensor], wrap: Any, prefix: str
) -> None:
    torch.save(wrap({prefix + key: value for key, value in tiny_state.items()}), tmp_path / "t.pth")
    network = build_tiny(tmp_path / "t.pth")
    assert all(torch.equal(network.model.state_dict()[key], value) for key, value in tiny_state.items())
    assert network.preprocess.source == "the defaults of tiny"


def test_a_torchvision_file_name_tells_which_preprocessing(tmp_path: Path) -> None:
    model = build(ModelSpec(model="resnet50", classes=3)).model
    torch.save(model.state_dict(), tmp_path / "resnet50-0676ba61.pth")
    torch.save(model.state_dict(), tmp_path / "mine.pth")
    first, newest = (
        build(ModelSpec(model="resnet50", classes=3, weights=str(tmp_path / name))).preprocess
        for name in ("resnet50-0676ba61.pth", "mine.pth")
    )
    assert (first.resize, first.source) == (256, "torchvision's ResNet50_Weights.IMAGENET1K_V1")
    assert (newest.resize, newest.source) == (232, "torchvision's ResNet50_Weights.IMAGENET1K_V2")


# --- what does not fit


def test_keys_of_another_collection_are_named(mobilenet: Path) -> None:
    with pytest.raises(BadValue) as caught:
        build(ModelSpec(model="mobilenet_v2", classes=6, weights=str(mobilenet)))
    sentence = str(caught.value)
    assert sentence.startswith(
        f"--weights {mobilenet}: its tensors do not fit the model: 260 missing (features.0.0.weight"
    )
    assert "unexpected (blocks.0.0." in sentence
    assert "it is for mobilenetv2_100" in sentence
    assert sentence.endswith("Pass the --model that it was made for.")


def test_one_tensor_of_another_shape_is_enough_to_refuse(tmp_path: Path, tiny_state: dict[str, torch.Tensor]) -> None:
    save_file({**tiny_state, "block1.1.weight": torch.zeros(1)}, tmp_path / "t.safetensors")
    with pytest.raises(BadValue, match=r"1 of another shape \(block1\.1\.weight\)"):
        build_tiny(tmp_path / "t.safetensors")


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"--weights .*none\.pth: there is no such file\. Pass default, none, a"):
        build_tiny(tmp_path / "none.pth")


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.h5").write_bytes(b"x")
    with pytest.raises(BadValue, match=r"files of type \.h5 cannot be read"):
        build_tiny(tmp_path / "t.h5")


def test_a_pickle_that_runs_code_does_not_run_it(tmp_path: Path) -> None:
    witness = tmp_path / "ran"

    class Method:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (witness,))

    class Function:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(witness), "w"))

    (tmp_path / "a.pth").write_bytes(pickle.dumps(Function()))
    torch.save({"weight": Method()}, tmp_path / "b.pth")
    torch.save({"weight": Function()}, tmp_path / "c.pth")
    for name, words in (
        ("a", "read as weights alone"),
        ("b", "read as weights alone"),
        ("c", "contains no state_dict"),
    ):
        with pytest.raises(BadValue, match=words):
            read(tmp_path / f"{name}.pth")
    torch.save({"state_dict": {"fc.bias": torch.zeros(1)}, "hook": Function()}, tmp_path / "d.pth")
    assert list(read(tmp_path / "d.pth")[0].tensors) == ["fc.bias"]
    assert not witness.exists()


@pytest.mark.parametrize("value", [[1, 2], {}, {"state_dict": {"epoch": 3}}, torch.zeros(3)])
def test_a_pth_without_a_state_dict_is_refused(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "t.pth")
    with pytest.raises(BadValue, match="it contains no state_dict"):
        read(tmp_path / "t.pth")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), suffix=st.sampled_from([".safetensors", ".pth"]))
def test_any_bytes_are_weights_or_a_sentence(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_bytes(data)
    with pytest.raises(BadValue, match="--weights"):
        read(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_refused_or_read_but_never_crashes(shared: Path, tmp_path: Path, data: st.DataObject) -> None:
    whole = (shared / "weights/mobilenetv1_025_128_imagenet.safetensors").read_bytes()
    at = data.draw(st.integers(0, 2000))
    changed = whole[:at] + data.draw(st.binary(min_size=1, max_size=4)) + whole[at + 1 :]
    path = tmp_path / "t.safetensors"
    path.write_bytes(changed[: data.draw(st.sampled_from([len(changed), 5000]))])
    with contextlib.suppress(BadValue):  # any other exception fails the test
        build(ModelSpec(model="mobilenetv1_025", classes=3, weights=str(path)))


@pytest.mark.parametrize(
    "facts",
    [
        {"std": [0, 0, 0]},
        {"mean": [0.5]},
        {"input_size": [3, 224, 100000]},
        {"crop_pct": 0},
        {"crop_pct": "many"},
        {"input_size": 7},
        {"mean": [float("nan")] * 3},
        ["not", "a", "mapping"],
    ],
)
def test_impossible_metadata_are_refused(tmp_path: Path, tiny_state: dict[str, torch.Tensor], facts: Any) -> None:
    config = json.dumps({"architecture": "tiny", "pretrained_cfg": facts})
    save_file(tiny_state, tmp_path / "t.safetensors", metadata={"config": config})
    with pytest.raises(BadValue, match="the preprocessing in its metadata is impossible"):
        build_tiny(tmp_path / "t.safetensors")


# --- default


def test_default_finds_the_file_in_a_folder(shared: Path, tmp_path: Path) -> None:
    network = build(
        ModelSpec(model="timm/mobilenetv2_100", classes=6, weights="default"), [tmp_path, shared / "weights"]
    )
    stem = load_file(shared / "weights/mobilenetv2_100_imagenet.safetensors")["conv_stem.weight"]
    assert torch.equal(network.model.state_dict()["conv_stem.weight"], stem.float())


def test_names_of_files_that_belong_to_a_model(tmp_path: Path) -> None:
    files = ["resnet50.pth", "resnet50-0676ba61.pth", "resnet50d.pth", "resnet5.pth", "timm_resnet50.safetensors", "x"]
    for name in files:
        (tmp_path / name).touch()
    assert [path.name for path in candidates("resnet50", [tmp_path, tmp_path / "absent"])] == [
        "resnet50.pth",
        "resnet50-0676ba61.pth",
    ]
    assert candidates("timm/resnet50", [tmp_path])[0].name == "timm_resnet50.safetensors"


def test_offline_is_one_sentence_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "cache"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # the port "discard": nothing listens there
    with pytest.raises(WeightsUnavailable) as caught:
        build(ModelSpec(model="resnet50", classes=3, weights="default"), [tmp_path])
    assert str(caught.value) == (
        "weights: download.pytorch.org cannot be reached: Connection refused, and there is no file for resnet50. "
        f"Looked for resnet50.safetensors in {tmp_path}. "
        "Put the file there, pass --weights FILE, or pass --weights none to start from random."
    )


def test_a_download_that_breaks_off_gives_the_same_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise urllib.error.URLError("connection reset")

    monkeypatch.setattr("clearsight.models.providers.torchvision.check_reachable", lambda url: None)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", broken)
    with pytest.raises(WeightsUnavailable, match=r"the download failed \(URLError\), and there is no file"):
        build(ModelSpec(model="resnet50", classes=3, weights="default"), [tmp_path])


def test_the_hub_in_offline_mode_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsUnavailable, match=r"weights: HF_HUB_OFFLINE is set, .*no file for timm/resnet18"):
        build(ModelSpec(model="timm/resnet18", classes=3, weights="default"), [tmp_path])


def test_a_hub_that_does_not_answer_is_asked_once_and_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with silent_server() as url:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
        started = time.monotonic()
        with pytest.raises(WeightsUnavailable, match=r"no answer within 2 s, and there is no file for timm/resnet18"):
            build(ModelSpec(model="timm/resnet18", classes=3, weights="default"), [tmp_path])
    assert time.monotonic() - started < 2 * PROBE_SECONDS, "it was asked more than once"
    assert not caplog.records


@pytest.mark.parametrize("offline", [False, True])
def test_weights_in_the_cache_of_the_hub_need_no_network(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    """The layout of the cache is that of huggingface_hub: refs/main names the snapshot."""
    repository = tmp_path / "models--timm--mobilenetv2_100.ra_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("abc")
    snapshot = repository / "snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(shared / "weights/mobilenetv2_100_imagenet.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    network = build(ModelSpec(model="timm/mobilenetv2_100", classes=6, weights="default"), [])
    stem = load_file(shared / "weights/mobilenetv2_100_imagenet.safetensors")["conv_stem.weight"]
    assert torch.equal(network.model.state_dict()["conv_stem.weight"], stem.float())


def test_a_download_is_used_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = build(ModelSpec(model="resnet18", classes=1000, seed=3)).model.state_dict()
    requested: list[dict[str, Any]] = []

    def download(url: str, **settings: Any) -> dict[str, torch.Tensor]:
        requested.append(settings)
        return state

    monkeypatch.setattr("clearsight.models.providers.torchvision.check_reachable", lambda url: None)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    network = build(ModelSpec(model="resnet18", classes=3, weights="default"), [tmp_path])
    assert torch.equal(network.model.state_dict()["layer4.0.conv1.weight"], state["layer4.0.conv1.weight"])
    assert requested[0]["weights_only"]
    assert requested[0]["check_hash"]
    assert network.weights.startswith("pretrained resnet18; mean 0.485/0.456/0.406")


def test_models_that_have_no_download(tmp_path: Path) -> None:
    assert build(ModelSpec(model="tiny", classes=3, weights="default")).weights.startswith(
        "random weights (tiny has no"
    )
    with pytest.raises(WeightsUnavailable, match="nothing to download, and there is no file for mobilenetv1_025"):
        build(ModelSpec(model="mobilenetv1_025", classes=3, weights="default"), [tmp_path])


def test_random_on_request(tmp_path: Path) -> None:
    assert build(ModelSpec(model="tiny", classes=3, weights="none"), [tmp_path]).weights.startswith(
        "random weights; mean"
    )
