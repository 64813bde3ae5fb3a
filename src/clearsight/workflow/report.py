"""report: a run as one page to send to a colleague."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clearsight.core.dataset import Dataset
from clearsight.core.errors import BadImage
from clearsight.core.files import read_json, write_text
from clearsight.core.run import Run
from clearsight.data.decode import decode
from clearsight.reports.facts import RunFacts
from clearsight.reports.page import run_page
from clearsight.reports.thumbnail import thumbnail
from clearsight.workflow.opening import listed

_GALLERY = 24


def write_report(run: Run, data: Dataset | None = None) -> Path:
    """Write report.html of a run; with `data` at hand the gallery of mistakes shows the pictures themselves."""
    path = run.path / "report.html"
    write_text(path, run_page(facts(run, data)))
    return path


def rewrite_report(run: Run) -> Path:
    """Write report.html again, with the pictures of the gallery when the data are still where they were."""
    source = Path(run.data["path"])
    data = listed(source, run.recipe.data, run.seed) if source.exists() else None
    return write_report(run, data)


def facts(run: Run, data: Dataset | None) -> RunFacts:
    """Everything the page says, gathered from the run folder."""
    measured = run.path / "evaluation" / "metrics.json"
    evaluation = read_json(measured) if measured.is_file() else None
    return RunFacts(
        name=run.name,
        status=run.status.value,
        reason=run.reason,
        recipe=run.recipe.to_yaml(),
        seed=run.seed,
        data=run.data,
        versions=run.versions,
        hardware=run.hardware,
        command=run.command,
        seconds=run.seconds,
        images_per_second=run.images_per_second,
        best_epoch=run.best_epoch,
        epochs=run.epochs(),
        steps=run.metrics(),
        evaluation=evaluation,
        split=evaluation["split"] if evaluation else "test",
        reliability=evaluation["reliability"] if evaluation else (),
        mistakes=list(_gallery(evaluation["mistakes"][:_GALLERY], data)) if evaluation else (),
        notices=run.data.get("notices", ()),
    )


def _gallery(mistakes: Iterable[Mapping[str, Any]], data: Dataset | None) -> Iterable[dict[str, Any]]:
    locators = {sample.id: sample.locator for sample in data.samples} if data is not None else {}
    for mistake in mistakes:
        entry = {"id": mistake["path"], **{key: mistake[key] for key in ("true", "predicted", "probability")}}
        if data is not None and mistake["path"] in locators:
            try:
                pixels = decode(data.source.read(locators[mistake["path"]]))
            except (BadImage, OSError):
                continue  # gone or changed since it was evaluated: the gallery does without it
            entry["thumbnail"] = thumbnail(pixels)
        yield entry
