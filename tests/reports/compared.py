"""Runs to be compared, told in a few words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clearsight.core.recipe import Recipe
from clearsight.reports.comparison.run import ComparedRun
from clearsight.reports.run.report_data import RunReportData
from tests.reports.conftest import trained


def compared(
    label: str,
    *,
    right: Sequence[bool] | None = None,
    hits: int | None = None,
    of: int = 100,
    valid: float | None = None,
    status: str = "completed",
    fingerprint: str = "f" * 64,
    more: dict[str, Any] | None = None,
    **settings: Any,
) -> ComparedRun:
    """right: which test images it gets right, and says so image by image.  hits: how many of `of`, no more said.

    valid: accuracy on the validation split of 50 images.
    """
    evaluation = None
    if right is not None:
        hits, of = sum(right), len(right)
    if hits is not None:
        evaluation = {"accuracy": hits / of, "macro_f1": hits / of, "loss": 0.5, "n": of}
    epochs, steps = trained(epochs=2, steps=5)
    if valid is not None:
        epochs = [epoch | {"valid": {"accuracy": valid, "loss": 1 - valid}} for epoch in epochs]
    facts = RunReportData(
        name=label,
        status=status,
        recipe=Recipe().replace(**settings).to_yaml(),
        data={"path": "photos", "fingerprint": fingerprint, "counts": {"valid": {"cat": 25, "dog": 25}}},
        epochs=epochs if valid is not None else (),
        steps=steps if valid is not None else (),
        evaluation=evaluation,
        **(more or {}),
    )
    answers = None if right is None else {f"{i}.jpg": ("cat", "cat" if hit else "dog") for i, hit in enumerate(right)}
    return ComparedRun(label=label, path=f"runs/{label}", facts=facts, answers=answers)


def first(hits: int, of: int = 100) -> list[bool]:
    """The first `hits` images right, the others wrong."""
    return [place < hits for place in range(of)]
