"""The reference: what smdebug 1.0.34 itself recorded of `reference/training.py`, with torch 2.15 and numpy 1.26."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import smdebug.pytorch as smd
from tests.sagemaker.smdebug.reference.training import CONFIGURATIONS, record, saved_steps

REFERENCE = Path(__file__).parent / "reference"


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_same_training_has_the_same_names_steps_and_shapes(name: str, tmp_path: Path) -> None:
    record(name, tmp_path)
    assert saved_steps(tmp_path) == json.loads((REFERENCE / "steps.json").read_text())[name]


def test_its_files_are_read() -> None:
    assert saved_steps(REFERENCE) == json.loads((REFERENCE / "steps.json").read_text())["small"]
    trial = smd.create_trial(str(REFERENCE / "tensors"), check=True)
    values = {
        name: {step: float(value.reshape(-1)[0]) for step, value in trial.tensor(name).values().items()}
        for name in ("scalar/epoch", "scalar/evaluation", "epoch")
    }
    # Of six values each, those that were the last before a step was saved.
    assert values["scalar/epoch"] == {7: 0, 42: 3, 59: 5}
    assert values["scalar/evaluation"] == {42: 1.5, 59: 2.5}
    assert values["epoch"] == {7: 0}
    assert trial.collection("biases").tensor_names == {"Net_conv.bias", "Net_fc.bias", "Net_fixed.bias"}
    assert trial.tensor("Net_fixed.bias").value(0).dtype == "float32"


def test_our_files_have_the_bytes_of_its_files(tmp_path: Path) -> None:
    """Positions, lengths, names and headers are the same; times and random weights are not."""
    record("small", tmp_path)
    for reference in sorted((REFERENCE / "tensors" / "index").rglob("*.json")):
        ours = tmp_path / "tensors" / reference.relative_to(REFERENCE / "tensors")
        assert json.loads(ours.read_text()) == json.loads(reference.read_text())
    for reference in sorted((REFERENCE / "tensors" / "events").rglob("*.tfevents")):
        ours = tmp_path / "tensors" / reference.relative_to(REFERENCE / "tensors")
        assert ours.stat().st_size == reference.stat().st_size
        assert ours.read_bytes()[:12] == reference.read_bytes()[:12]
