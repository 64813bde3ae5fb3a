"""--weights RUN, BUNDLE or model.tar.gz: the model follows the weights, the head is reused for equal classes alone."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

import pytest
import torch

from clearsight.core.bundle import Bundle
from clearsight.core.errors import BadArchive, BadBundle, BadChoice, NotFound
from clearsight.core.recipe import Recipe
from clearsight.models.bundle import save
from clearsight.models.network import Network
from clearsight.models.zoo import ModelSpec, build
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.defaults import unset_fields
from clearsight.workflow.prepare.earlier_weights import start_from_earlier
from clearsight.workflow.prepare.setup import build_network
from clearsight.workflow.run.restore import weights_facts
from tests.workflow.run_folders import write_run

CLASSES = ("cat", "dog", "owl")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Return a bundle of a tiny network with a hidden layer and a mean of its own."""
    network = build(ModelSpec(model="tiny", classes=3, head=(8,), seed=5))
    preprocess = network.preprocess.model_copy(update={"mean": (0.1, 0.2, 0.3)})
    return save(
        network, Bundle(model="tiny", head=(8,), classes=CLASSES, preprocess=preprocess), tmp_path / "runs/a/model"
    )


def start(weights: str | Path, tmp_path: Path, unset: Collection[str] | None = None, **settings: object) -> Recipe:
    recipe = Recipe().replace(weights=str(weights), **settings)
    return start_from_earlier(recipe, unset_fields(recipe) if unset is None else unset, tmp_path / "cache")


def network_of(recipe: Recipe, classes: tuple[str, ...], tmp_path: Path) -> Network:
    return build_network(recipe, classes, Paths(cache=tmp_path / "cache", weights=()))


@pytest.mark.parametrize("form", ["run", "bundle", "archive"])
def test_model_head_and_preprocessing_are_those_of_the_run(form: str, bundle: Bundle, tmp_path: Path) -> None:
    forms = {"run": tmp_path / "runs/a", "bundle": bundle.path, "archive": tmp_path / "model.tar.gz"}
    bundle.pack(forms["archive"])
    recipe = start(forms[form], tmp_path)
    assert (recipe.model.model, recipe.model.head) == ("tiny", (8,))
    network = network_of(recipe, CLASSES, tmp_path)
    assert network.preprocess.mean == pytest.approx((0.1, 0.2, 0.3))
    assert "head reused, since its classes are equal" in network.weights
    saved = build(ModelSpec(model="tiny", classes=3, head=(8,), seed=5))
    assert torch.equal(network.head.logits.weight, saved.head.logits.weight)  # type: ignore[union-attr]


def test_other_classes_get_a_new_head_although_their_number_is_the_same(bundle: Bundle, tmp_path: Path) -> None:
    network = network_of(start(bundle.path, tmp_path), ("bee", "fly", "wasp"), tmp_path)
    assert "new head, since its classes are others" in network.weights
    saved = build(ModelSpec(model="tiny", classes=3, head=(8,), seed=5))
    assert not torch.equal(network.head.logits.weight, saved.head.logits.weight)  # type: ignore[union-attr]
    stem = dict(network.model.named_parameters())
    backbone = {
        name: value for name, value in saved.model.named_parameters() if not name.startswith(saved.head_name + ".")
    }
    assert backbone
    assert all(torch.equal(stem[name], value) for name, value in backbone.items())


@pytest.mark.parametrize(
    ("classes", "words"), [(("bee", "fly", "wasp"), "its classes are others"), (CLASSES, "its classes are equal")]
)
def test_a_copy_of_the_weights_file_alone_still_names_its_classes(
    bundle: Bundle, tmp_path: Path, classes: tuple[str, ...], words: str
) -> None:
    copy = Path(shutil.copy(bundle.weights, tmp_path / "copied.safetensors"))
    recipe = Recipe().replace(model="tiny", head=(8,), weights=str(copy))
    assert words in network_of(recipe, classes, tmp_path).weights


def test_a_run_records_that_its_head_was_trained_before(bundle: Bundle, tmp_path: Path) -> None:
    """Its validation images may be among those of that training, and then raise no confidence."""
    recipe = start(bundle.path, tmp_path)
    for classes, has_head in ((CLASSES, True), (("bee", "fly", "wasp"), False)):
        network = network_of(recipe, classes, tmp_path)
        assert weights_facts(network, network.preprocess)["has_head"] is has_head


def test_other_layers_get_a_new_head(bundle: Bundle, tmp_path: Path) -> None:
    recipe = start(bundle.path, tmp_path, unset=("model",), head=(4,))
    assert recipe.model.head == (4,)
    assert "new head, since its layers are others" in network_of(recipe, CLASSES, tmp_path).weights


def test_last_is_the_newest_run_with_a_model(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs/a"))
    assert start("last", tmp_path).model.weights == str(bundle.weights)


def test_another_model_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BadChoice, match=r"--model resnet18: the weights of .* are of tiny\. Leave --model out"):
        start(bundle.path, tmp_path, unset=(), model="resnet18")


def test_a_run_without_a_model_and_last_without_a_run_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="last: there is no run with a model"):
        start("last", tmp_path)
    write_run(Path("runs/b"))
    with pytest.raises(BadBundle, match=r"bundle\.json is missing"):
        start("runs/b", tmp_path)


def test_an_archive_is_unpacked_once(bundle: Bundle, tmp_path: Path) -> None:
    archive = bundle.pack(tmp_path / "model.tar.gz")
    first = Path(start(archive, tmp_path).model.weights)
    written = first.stat().st_mtime_ns
    assert Path(start(archive, tmp_path).model.weights) == first
    assert first.stat().st_mtime_ns == written
    assert [folder.name for folder in (tmp_path / "cache/bundles").iterdir()] == [first.parent.name]


@pytest.mark.parametrize("weights", ["default", "none", "file.safetensors"])
def test_other_weights_stay_as_they_are(weights: str, tmp_path: Path) -> None:
    assert start(weights, tmp_path).model.weights == weights


def unpacked(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "cache" / "bundles").iterdir()
    return folder


@pytest.mark.parametrize("file", ["model.safetensors", "bundle.json"])
@pytest.mark.parametrize("damage", ["zeroed", "cut short", "gone"])
def test_a_damaged_unpacked_archive_is_unpacked_again(
    file: str, damage: str, bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = bundle.pack(tmp_path / "model.tar.gz")
    path = Path(start(archive, tmp_path).model.weights)
    whole = path.read_bytes()
    damaged = unpacked(tmp_path) / file
    size = damaged.stat().st_size
    damaged.unlink()
    if damage != "gone":
        damaged.write_bytes(bytes(size) if damage == "zeroed" else b"{")
    assert Path(start(archive, tmp_path).model.weights).read_bytes() == whole
    assert "note: the cached weights" in caplog.text


def test_an_archive_is_used_although_the_cache_cannot_be_written(
    bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = bundle.pack(tmp_path / "model.tar.gz")
    (tmp_path / "cache").write_bytes(b"")  # a file in place of the folder
    recipe = start(archive, tmp_path)
    assert Path(recipe.model.weights).read_bytes() == bundle.weights.read_bytes()
    assert "cannot be written to (Not a directory)" in caplog.text or "(File exists)" in caplog.text


def test_half_an_archive_is_named_and_leaves_nothing(bundle: Bundle, tmp_path: Path) -> None:
    archive = bundle.pack(tmp_path / "model.tar.gz")
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(BadArchive, match=r"model\.tar\.gz"):
        start(archive, tmp_path)
    assert list((tmp_path / "cache" / "bundles").iterdir()) == []
