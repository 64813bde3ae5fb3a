"""Values of an epoch: why a script of 70 epochs saw two points, and how it sees 70."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import smdebug.pytorch as smd
from tests.sagemaker.smdebug.conftest import Batches

EPOCHS, INTERVAL = 70, 50
BATCHES = 11  # no divisor in common with the interval, as the 391 batches of the script


def run(folder: Path, batches: Batches) -> None:
    hook = smd.Hook(
        str(folder),
        save_config={modes: smd.SaveConfigMode(interval) for modes, interval in INTERVALS.items()},
        include_collections=["gradients"],
    )
    model, loss = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), nn.CrossEntropyLoss()
    hook.register_module(model)
    hook.register_loss(loss)
    batches = (batches * 2)[:BATCHES]
    for epoch in range(EPOCHS):
        hook.set_mode(smd.modes.TRAIN)
        for images, labels in batches:
            loss(model(images), labels).backward()
        hook.save_tensor("epochs_accuracy", torch.tensor(float(epoch)))
        hook.save_scalar("accuracy", -1.0)  # replaced at once
        hook.save_scalar("accuracy", float(epoch))
    hook.set_mode(smd.modes.EVAL)
    with torch.no_grad():
        for images, labels in batches:
            loss(model(images), labels)
    hook.close()


INTERVALS = {smd.modes.TRAIN: INTERVAL, smd.modes.EVAL: 10}


def values(folder: Path, name: str, mode: smd.modes) -> dict[int, float]:
    tensor = smd.create_trial(str(folder)).tensor(name)
    return {step: float(value.reshape(-1)[0]) for step, value in tensor.values(mode=mode).items()}


def test_two_of_70_values_survive_and_the_counts_say_why(tmp_path: Path, batches: Batches) -> None:
    run(tmp_path / "t", batches)
    # Epoch 50 begins at step 550, the only first step of an epoch that is divisible by 50; the last value is written
    # by the first forward pass of the evaluation.
    assert values(tmp_path / "t", "epochs_accuracy", smd.modes.TRAIN) == {BATCHES * 50: 49.0}
    assert values(tmp_path / "t", "epochs_accuracy", smd.modes.EVAL) == {0: 69.0}
    counts = json.loads((tmp_path / "t" / "saved_steps.json").read_text())
    assert counts["values"]["save_tensor(epochs_accuracy)"] == {"saved": 70, "written": 2, "dropped": 68}
    assert counts["values"]["save_scalar(accuracy)"]["dropped"] > 0
    (sentence,) = [text for text in counts["sentences"] if "epochs_accuracy" in text]
    assert sentence.startswith("save_tensor(epochs_accuracy): 68 of 70 values were dropped, because no saved step")


def test_lossless_keeps_all_under_the_steps_that_made_them(
    tmp_path: Path, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARSIGHT_SMDEBUG", "lossless")
    run(tmp_path / "t", batches)
    expected = {BATCHES * (epoch + 1) - 1: float(epoch) for epoch in range(EPOCHS)}
    for name in ("epochs_accuracy", "scalar/accuracy"):
        assert values(tmp_path / "t", name, smd.modes.TRAIN) == expected
    # What the schedule saves stays as it is.
    losses = smd.create_trial(str(tmp_path / "t")).tensor("CrossEntropyLoss_output_0")
    assert losses.steps(mode=smd.modes.TRAIN) == list(range(0, EPOCHS * BATCHES, INTERVAL))
    counts = json.loads((tmp_path / "t" / "saved_steps.json").read_text())
    assert counts["values"]["save_scalar(accuracy)"] == {"saved": 140, "written": 70, "dropped": 70}
    assert [text for text in counts["sentences"] if "accuracy" not in text] == [
        "collection losses (read by rules such as LossNotDecreasing): 2 of 11 EVAL steps were saved, "
        "with save_interval 10. Lower it for more points."
    ]
