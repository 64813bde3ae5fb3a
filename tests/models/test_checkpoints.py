"""Checkpoints of training scripts load as they are, say what was taken, and never run code."""

from __future__ import annotations

import argparse
import collections
import enum
import pathlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from clearsight.core.errors import BadValue
from clearsight.models.checkpoints import matching_part, read_pickled, without_prefixes
from clearsight.models.network import Network
from clearsight.models.zoo import ModelSpec, build

State = dict[str, Tensor]
CLASSES = ("cat", "dog", "owl")


class Mode(enum.Enum):
    """A class of a script, which nobody else can import."""

    FAST = "fast"


@pytest.fixture(scope="module")
def state() -> State:
    return build(ModelSpec(model="tiny", classes=3, seed=9)).model.state_dict()


def tiny(weights: Path, class_names: tuple[str, ...] = CLASSES) -> Network:
    return build(ModelSpec(model="tiny", classes=3, weights=str(weights), class_names=class_names))


def under(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def said(network: Network) -> str:
    """Return what the plan of a run says of the weights after the path."""
    return network.weights.partition(";")[0].partition(".pth")[2]


def loads(network: Network, state: State) -> bool:
    found = network.model.state_dict()
    return all(torch.equal(found[key], value.to(found[key].dtype)) for key, value in state.items())


@pytest.mark.parametrize(
    "prefix",
    [
        "_orig_mod.",
        "module.",
        "model.",
        "net.",
        "backbone.",
        "encoder.",
        "module._orig_mod.",
        "model._orig_mod.module.",
    ],
)
def test_the_prefix_of_a_wrapper_is_taken_off_and_said(tmp_path: Path, state: State, prefix: str) -> None:
    torch.save(under(prefix, state), tmp_path / "t.pth")
    network = tiny(tmp_path / "t.pth")
    assert loads(network, state)
    assert f"without {prefix} before the names" in said(network)


@pytest.mark.parametrize("key", ["model_state_dict", "state_dict", "model", "net", "ema", "state_dict_ema", "params"])
def test_the_entry_with_the_weights_is_found_and_said(tmp_path: Path, state: State, key: str) -> None:
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3), "step": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]}
    torch.save({"epoch": 3, "optimizer": optimizer, key: state, "loss": 0.5}, tmp_path / "t.pth")
    network = tiny(tmp_path / "t.pth")
    assert loads(network, state)
    assert f"from {key} in the file" in said(network)


def test_averaged_weights_come_before_the_others(tmp_path: Path, state: State) -> None:
    averaged = {key: value + 1 for key, value in state.items()}
    torch.save({"state_dict": state, "state_dict_ema": averaged}, tmp_path / "t.pth")
    network = tiny(tmp_path / "t.pth")
    assert loads(network, averaged)
    assert "from state_dict_ema in the file" in said(network)


def test_an_average_of_torch_has_a_counter_beside_its_tensors(tmp_path: Path, state: State) -> None:
    torch.save({"model_ema": {"n_averaged": torch.tensor(7), **under("module.", state)}}, tmp_path / "t.pth")
    network = tiny(tmp_path / "t.pth")
    assert loads(network, state)
    assert "without module. before the names, and without 1 other tensors" in said(network)


def test_a_lightning_checkpoint_with_tensors_of_metrics_and_losses(tmp_path: Path, state: State) -> None:
    lightning = {**under("model.", state), "criterion.weight": torch.ones(3), "train_acc.tp": torch.zeros(3)}
    hyper = argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("a"))
    torch.save(
        {
            "state_dict": lightning,
            "hyper_parameters": hyper,
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.ones(1)}},
            "loops": {},
        },
        tmp_path / "t.ckpt",
    )
    assert loads(tiny(tmp_path / "t.ckpt"), state)


def test_a_backbone_with_a_projection_keeps_a_new_head(tmp_path: Path, state: State) -> None:
    backbone = {key: value for key, value in state.items() if not key.startswith("fc.")}
    student = {**under("student.backbone.", backbone), "student.projection.weight": torch.ones(2, 2)}
    torch.save({"epoch": 1, "state_dict": student}, tmp_path / "t.pth")
    assert loads(tiny(tmp_path / "t.pth"), backbone)


@pytest.mark.parametrize(
    "beside",
    [
        {"args": argparse.Namespace(lr=0.1, device=torch.device("cpu"))},
        {"best_acc": np.float64(0.9), "history": np.zeros(3)},
        {"config": {"out": pathlib.PurePosixPath("runs"), "mode": Mode.FAST}},
        {"meters": collections.defaultdict(list, loss=[0.5])},
        {"rng": torch.get_rng_state(), "numpy": np.random.default_rng(0).bit_generator.state},
        {"transform": torch.nn.Dropout(0.5)},
    ],
    ids=lambda beside: ", ".join(beside),
)
def test_objects_beside_the_tensors_are_ignored(tmp_path: Path, state: State, beside: dict[str, Any]) -> None:
    torch.save({"model": state, **beside}, tmp_path / "t.pth")
    assert loads(tiny(tmp_path / "t.pth"), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted(tmp_path: Path, state: State, dtype: torch.dtype) -> None:
    half = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
    torch.save({"state_dict": half}, tmp_path / "t.pth")
    network = tiny(tmp_path / "t.pth")
    assert loads(network, half)
    assert next(network.model.parameters()).dtype == torch.float32


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: {"model": m, "epoch": 1}, lambda m: {"ema": m, "model": None}])
def test_a_whole_model_is_refused_in_one_sentence(tmp_path: Path, wrap: Callable[[Any], Any]) -> None:
    torch.save(wrap(torch.nn.Sequential(torch.nn.Linear(2, 2))), tmp_path / "t.pth")
    with pytest.raises(BadValue) as caught:
        read_pickled(tmp_path / "t.pth")
    assert "holds a whole model as a Python object" in str(caught.value)
    assert str(caught.value).endswith("Save model.state_dict() with torch.save, or as safetensors.")


def test_a_compiled_script_and_an_old_file_are_one_plain_sentence(tmp_path: Path, state: State) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "script.pt"))
    torch.save({"a": argparse.Namespace()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("script.pt", "old.pth"):
        with pytest.raises(BadValue, match="cannot be read as weights alone") as caught:
            read_pickled(tmp_path / name)
        assert "\x1b" not in str(caught.value)
        assert "weights_only=False" not in str(caught.value)


def test_a_file_from_before_version_1_6_loads(tmp_path: Path, state: State) -> None:
    torch.save({"state_dict": under("module.", state)}, tmp_path / "t.pth", _use_new_zipfile_serialization=False)
    assert loads(tiny(tmp_path / "t.pth"), state)


def test_a_prefix_that_the_model_has_itself_stays() -> None:
    tensors = {"model.a": torch.zeros(1), "model.b": torch.ones(1)}
    plain, taken = without_prefixes(tensors)
    assert (set(plain), taken) == ({"a", "b"}, "model.")
    assert matching_part(plain, tensors.keys()).tensors.keys() == tensors.keys()


@given(
    names=st.sets(st.text("abc.", min_size=1).filter(lambda name: not name.startswith(".")), min_size=1),
    prefixes=st.lists(st.sampled_from(["module.", "model.", "_orig_mod."]), max_size=3),
)
def test_any_chain_of_wrappers_is_taken_off(names: set[str], prefixes: list[str]) -> None:
    chain = "".join(prefixes)
    assert without_prefixes({chain + name: 0 for name in names}) == (dict.fromkeys(names, 0), chain)


# --- the head


def test_a_head_of_as_many_unnamed_classes_is_reused_and_said(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "t.pth")
    network = tiny(tmp_path / "t.pth")
    assert torch.equal(network.head.state_dict()["weight"], state["fc.weight"])
    assert "head reused, since it has 3 classes too (the file does not name them)" in said(network)


@pytest.mark.parametrize(("names", "reused"), [(CLASSES, True), (("bee", "fly", "wasp"), False)])
def test_classes_in_the_metadata_of_a_file_decide_about_the_head(
    tmp_path: Path, state: State, names: tuple[str, ...], reused: bool
) -> None:
    config = '{"label_names": ["cat", "dog", "owl"]}'
    save_file(state, tmp_path / "t.safetensors", metadata={"config": config})
    network = tiny(tmp_path / "t.safetensors", names)
    assert torch.equal(network.head.state_dict()["weight"], state["fc.weight"]) == reused
    assert ("head reused, since its classes are equal" in network.weights) == reused
    assert ("new head, since its classes are others" in network.weights) != reused
