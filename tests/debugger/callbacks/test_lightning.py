"""LightningDebugger: watches what a Lightning Trainer trains, which trains the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clearsight.core.errors import MissingExtra
from clearsight.debugger.callbacks.lightning import DebuggerCallback, watched_part
from tests.debugger.networks import batches, hooks_on, network, same_state


def test_the_network_of_a_module_is_its_one_child_with_parameters() -> None:
    net = network()
    holder = nn.Module()
    holder.net, holder.loss = net, nn.CrossEntropyLoss()
    assert watched_part(holder) is net
    holder.other = nn.Linear(2, 2)
    assert watched_part(holder) is holder


def test_without_lightning_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for package in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=r"clearsight\[lightning\]"):
        DebuggerCallback(tmp_path)


@pytest.fixture
def lightning() -> Any:
    return pytest.importorskip("lightning.pytorch", reason="the extra `lightning` is not installed")


def fit(lightning: Any, callback: Any, root: Path, *, functional: bool = False, accumulate: int = 1) -> nn.Module:
    """Train for two epochs of six batches."""

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = network()
            self.criterion = None if functional else nn.CrossEntropyLoss()

        def loss(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
            inputs, labels = batch
            logits = self.net(inputs)
            loss = (self.criterion or nn.functional.cross_entropy)(logits, labels)
            return {"loss": loss, "logits": logits.detach(), "labels": labels}

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
            return self.loss(batch)

        def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
            return self.loss(batch)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.net.parameters(), 0.05)

    module = Module()
    torch.manual_seed(3)
    trainer = lightning.Trainer(
        max_epochs=2,
        accumulate_grad_batches=accumulate,
        accelerator="cpu",
        callbacks=[callback] if callback else [],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=root,
    )
    loaders = [torch.utils.data.DataLoader(list(data), batch_size=None) for data in (batches(6), batches(2, seed=7))]
    trainer.fit(module, *loaders)
    assert hooks_on(module) == 0
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("functional", [False, True])
def test_a_trainer_is_watched_and_trains_the_same(lightning: Any, tmp_path: Path, functional: bool) -> None:
    callback = DebuggerCallback(tmp_path / "run", rules="none", quiet=True)
    watched, unwatched = (
        fit(lightning, callback, tmp_path, functional=functional),
        fit(lightning, None, tmp_path, functional=functional),
    )
    hook = callback.hook
    assert hook.failure is None
    assert same_state(unwatched, watched)
    assert hook.tape.context.steps == 12
    assert hook.tape.scalar("loss").steps.tolist() == list(range(1, 13))
    assert hook.tape.scalar("grad_norm").steps.tolist() == list(range(1, 13))
    assert len(hook.tape.predictions()) == 12 * 8
    assert hook.tape.evaluations().epochs.tolist() == [1, 2]
    assert (hook.tape.evaluations().valid_loss > 0).all()
    assert {"0.weight", "6.weight"} <= set(hook.tape.names("weights"))
    assert "update/6.weight" in hook.tape.names("updates")


@pytest.mark.filterwarnings("ignore")
def test_accumulated_batches_share_a_step(lightning: Any, tmp_path: Path) -> None:
    callback = DebuggerCallback(tmp_path / "run", rules="none", quiet=True)
    fit(lightning, callback, tmp_path, functional=True, accumulate=3)
    assert callback.hook.step == 4
    losses = callback.hook.tape.scalar("loss")
    assert losses.steps.tolist() == [1, 2, 3, 4]
    assert (losses.values > 0.5).all()  # not divided by the number of batches
