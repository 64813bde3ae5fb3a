"""HuggingFaceDebugger: watches what `transformers.Trainer` trains, which trains the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clearsight.core.errors import MissingExtra
from clearsight.debugger.callbacks.huggingface import DebuggerCallback
from tests.debugger.networks import batches, hooks_on, network, same_state


def test_without_transformers_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"clearsight\[huggingface\]"):
        DebuggerCallback(tmp_path)


@pytest.fixture
def transformers() -> Any:
    pytest.importorskip("accelerate", reason="transformers.Trainer needs accelerate")
    return pytest.importorskip("transformers", reason="the extra `huggingface` is not installed")


def fit(transformers: Any, callback: Any, root: Path) -> nn.Module:
    """Train for two epochs of six batches."""

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> Any:
            logits = self.net(pixel_values)
            loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
            return transformers.modeling_outputs.ImageClassifierOutput(loss=loss, logits=logits)

    pairs = [pair for inputs, labels in batches(6) for pair in zip(inputs, labels, strict=True)]
    images = [{"pixel_values": image, "labels": label} for image, label in pairs]
    arguments = transformers.TrainingArguments(
        output_dir=str(root / "hf"),
        num_train_epochs=2,
        per_device_train_batch_size=8,
        per_device_eval_batch_size=8,
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=3,
        dataloader_pin_memory=False,
        logging_strategy="no",
    )
    torch.manual_seed(3)
    model = Classifier()
    trainer = transformers.Trainer(
        model=model,
        args=arguments,
        train_dataset=images,
        eval_dataset=images[:16],
        callbacks=[callback] if callback else [],
    )
    trainer.train()
    assert hooks_on(model) == 0
    return model


@pytest.mark.filterwarnings("ignore")
def test_a_trainer_is_watched_and_trains_the_same(transformers: Any, tmp_path: Path) -> None:
    callback = DebuggerCallback(tmp_path / "run", rules="none", quiet=True)
    watched, unwatched = fit(transformers, callback, tmp_path), fit(transformers, None, tmp_path)
    hook = callback.hook
    assert hook.failure is None
    assert same_state(unwatched, watched)
    assert (hook.tape.context.steps, hook.tape.context.batch_size) == (12, 8)
    assert hook.tape.scalar("loss").steps.tolist() == list(range(1, 13))
    assert hook.tape.scalar("grad_norm").steps.tolist() == list(range(1, 13))
    assert len(hook.tape.predictions()) == 12 * 8
    assert hook.tape.evaluations().epochs.tolist() == [1, 2]
    assert hook.tape.raw("input_channels")
    assert "update/net.6.weight" in hook.tape.names("updates")
