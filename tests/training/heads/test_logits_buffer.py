"""The loss of every image of an epoch is computed once, whatever the size of the buffer."""

from __future__ import annotations

import pytest
import torch

from clearsight.core.recipe import Recipe
from clearsight.training.heads import logits_buffer as module
from clearsight.training.heads.logits_buffer import LogitsBuffer
from clearsight.training.heads.loss import StackedLoss

IMAGES, HEADS, CLASSES = 23, 3, 4
LABELS = torch.arange(IMAGES) % CLASSES


@pytest.mark.parametrize("size", [1, 5, 23])
@pytest.mark.parametrize("max_bytes", [1, 4 * HEADS * CLASSES * 12, 1 << 20], ids=["a piece", "some pieces", "all"])
def test_losses_and_hits_in_order(size: int, max_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_BYTES", max_bytes)
    loss = StackedLoss([Recipe().train] * HEADS, LABELS.numpy(), CLASSES, torch.device("cpu"))
    logits = torch.randn(IMAGES, HEADS, CLASSES, generator=torch.Generator().manual_seed(0))
    whole = logits.clone()
    buffer = LogitsBuffer(loss, LABELS, HEADS, CLASSES, size)
    for piece in logits.split(size):
        buffer.add(piece)
        piece.zero_()  # the next step overwrites its logits
    buffer.flush()
    expected = torch.nn.functional.cross_entropy(
        whole.flatten(0, 1), LABELS.repeat_interleave(HEADS), reduction="none"
    ).view(IMAGES, HEADS)
    assert torch.allclose(buffer.losses, expected, atol=1e-6)
    assert torch.equal(buffer.correct, whole.argmax(2) == LABELS[:, None])
