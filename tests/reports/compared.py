"""Runs to be compared, made from a few numbers."""

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
    correct: Sequence[bool] | None = None,
    hits: int | None = None,
    of: int = 100,
    valid: float | None = None,
    status: str = "completed",
    fingerprint: str = "f" * 64,
    more: dict[str, Any] | None = None,
    **settings: Any,
) -> ComparedRun:
    """A run of which the predictions, the accuracy, or nothing is known.

    correct: per test image, with its prediction.  hits: correct images of `of`, without predictions.
    valid: accuracy on the validation split of 50 images.
    """
    evaluation = None
    if correct is not None:
        hits, of = sum(correct), len(correct)
    if hits is not None:
        evaluation = {"accuracy": hits / of, "macro_f1": hits / of, "loss": 0.5, "n": of}
    epochs, steps = trained(epochs=2, steps=5)
    if valid is not None:
        epochs = [epoch | {"valid": {"accuracy": valid, "loss": 1 - valid}} for epoch in epochs]
    report = RunReportData(
        name=label,
        status=status,
        recipe=Recipe().replace(**settings).to_yaml(),
        data={"path": "photos", "fingerprint": fingerprint, "counts": {"valid": {"cat": 25, "dog": 25}}},
        epochs=epochs if valid is not None else (),
        steps=steps if valid is not None else (),
        evaluation=evaluation,
        **(more or {}),
    )
    predictions = None
    if correct is not None:
        predictions = {f"{i}.jpg": ("cat", "cat" if hit else "dog") for i, hit in enumerate(correct)}
    return ComparedRun(label=label, path=f"runs/{label}", report=report, predictions=predictions)


def first(hits: int, of: int = 100) -> list[bool]:
    """The first `hits` images correct, the others wrong."""
    return [index < hits for index in range(of)]
