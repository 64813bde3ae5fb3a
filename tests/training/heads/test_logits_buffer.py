"""Every image of an epoch is judged once, however many fit on the tape."""

from __future__ import annotations

import pytest
import torch

from clearsight.core.recipe import Recipe
from clearsight.training.heads import logits_buffer as stack_tape
from clearsight.training.heads.logits_buffer import LogitsBuffer
from clearsight.training.heads.loss import StackedLoss

IMAGES, HEADS, CLASSES = 23, 3, 4
LABELS = torch.arange(IMAGES) % CLASSES


@pytest.mark.parametrize("size", [1, 5, 23])
@pytest.mark.parametrize("room", [1, 4 * HEADS * CLASSES * 12, 1 << 20], ids=["a piece", "some pieces", "all"])
def test_losses_and_right_answers_in_order(size: int, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack_tape, "_ROOM", room)
    loss = StackedLoss([Recipe().train] * HEADS, LABELS.numpy(), CLASSES, torch.device("cpu"))
    logits = torch.randn(IMAGES, HEADS, CLASSES, generator=torch.Generator().manual_seed(0))
    tape = LogitsBuffer(loss, LABELS, HEADS, CLASSES, size)
    for piece in logits.split(size):
        tape.add(piece)
        piece.zero_()  # the next step writes over it
    tape.judge()
    again = torch.randn(IMAGES, HEADS, CLASSES, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.cross_entropy(
        again.flatten(0, 1), LABELS.repeat_interleave(HEADS), reduction="none"
    ).view(IMAGES, HEADS)
    assert torch.allclose(tape.losses, expected, atol=1e-6)
    assert torch.equal(tape.right, again.argmax(2) == LABELS[:, None])
