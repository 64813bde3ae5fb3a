"""report: a run as one page to send to a colleague, and every figure's numbers beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clearsight.core.bundle import Bundle
from clearsight.core.context import RunContext
from clearsight.core.dataset import Dataset
from clearsight.core.errors import ClearsightError
from clearsight.core.files import read_json, write_text
from clearsight.core.finding import read_findings
from clearsight.core.preprocess import PRESETS, Preprocess
from clearsight.core.profile import Profile
from clearsight.core.profile_folder import read_profile
from clearsight.core.rule import Rule
from clearsight.core.run import Run
from clearsight.data.decode import decode
from clearsight.data.loader import Loader, LoadPlan
from clearsight.profiler.analysis.what_if import what_if
from clearsight.profiler.rules import PROFILER_RULES
from clearsight.reports.kit.json_export import figures_of
from clearsight.reports.kit.thumbnail import thumbnail
from clearsight.reports.run.page import page_of, sections_of
from clearsight.reports.run.report_data import RunReportData
from clearsight.workflow.prepare.datasets import list_dataset
from clearsight.workflow.run.debugging import plain_settings
from clearsight.workflow.run.rules import rules_of

_GALLERY = 24
_TYPICAL = 12
_SAMPLES = 16


def write_report(run: Run, data: Dataset | None = None, preprocess: Preprocess | None = None) -> Path:
    """Write report.html and report.json of a run, however it ended; returns the page.

    data: the dataset, so that galleries show the images themselves.  preprocess: through which the model sees them.
    """
    return _write(run.path, facts(run, data, preprocess))


def rewrite_report(run: Run) -> Path:
    """Write the report again, with images when the data are still where they were."""
    source = Path(run.data["path"])
    data = list_dataset(source, run.recipe.data, run.seed) if source.exists() else None
    return write_report(run, data, Bundle.open(run.bundle).preprocess if run.has_bundle else None)


def write_foreign_report(folder: Path, *, name: str, status: str, command: Sequence[str], seconds: float) -> Path:
    """The report of somebody's own loop, from what the profiler and the rules left in `folder`; returns the page."""
    profile = read_profile(folder / "profile")
    return _write(
        folder,
        RunReportData(
            name=name,
            status=status,
            command=command,
            seconds=seconds,
            findings=read_findings(folder / "findings.jsonl"),
            rules=[_rule(kind()) for _, kind in PROFILER_RULES if not kind.optional],
            profile=profile,
            what_if=_what_if(profile, RunContext()),
            hotlines=_listed(folder / "profile" / "hotlines.json"),
        ),
    )


def _write(folder: Path, told: RunReportData) -> Path:
    page, sections = folder / "report.html", sections_of(told)
    write_text(page, page_of(told, sections))
    write_text(folder / "report.json", json.dumps(figures_of(told, sections), allow_nan=False) + "\n")
    return page


def facts(run: Run, data: Dataset | None, preprocess: Preprocess | None = None) -> RunReportData:
    """Everything the page says, gathered from the run folder."""
    measured = run.path / "evaluation" / "metrics.json"
    evaluation = read_json(measured) if measured.is_file() else None
    profile = read_profile(run.path / "profile")
    tuning = run.path / "auto_tune.json"
    return RunReportData(
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
        typical=list(_gallery(evaluation.get("typical", ())[:_TYPICAL], data)) if evaluation else (),
        samples=_samples(run, data, preprocess),
        notices=run.data.get("notices", ()),
        findings=read_findings(run.path / "findings.jsonl"),
        rules=[_rule(rule) for rule in rules_of(run.recipe)],
        actions=_listed(run.path / "actions.json"),
        profile=profile,
        what_if=_what_if(
            profile, RunContext(batch_size=run.recipe.train.batch_size, settings=plain_settings(run.recipe))
        ),
        tuning=read_json(tuning) if tuning.is_file() else None,
    )


def _rule(rule: Rule) -> dict[str, Any]:
    return {"name": rule.name, "parameters": rule.parameters(), "topic": rule.topic}


def _what_if(profile: Profile, known: RunContext) -> list[dict[str, Any]]:
    return [asdict(one) for one in what_if(profile, known)]


def _listed(path: Path) -> list[dict[str, Any]]:
    return list(read_json(path)) if path.is_file() else []


def _gallery(answers: Iterable[Mapping[str, Any]], data: Dataset | None) -> Iterable[dict[str, Any]]:
    locators = {sample.id: sample.locator for sample in data.samples} if data is not None else {}
    for answer in answers:
        entry = {"id": answer["path"], **{key: answer[key] for key in ("true", "predicted", "probability")}}
        if data is not None and answer["path"] in locators:
            try:
                pixels = decode(data.source.read(locators[answer["path"]]))
            except (ClearsightError, OSError):
                continue  # gone or changed since it was evaluated: the gallery does without it
            entry["thumbnail"] = thumbnail(pixels)
        yield entry


def _samples(run: Run, data: Dataset | None, preprocess: Preprocess | None) -> list[dict[str, Any]]:
    """Some training images as the model is shown them, in the first epoch."""
    train = data.split("train") if data is not None else None
    if train is None or preprocess is None or not len(train):
        return []
    plan = LoadPlan(
        batch_size=_SAMPLES,
        augment=PRESETS[run.recipe.data.augment],
        order="shuffled",
        seed=run.seed,
        workers=0,
        max_pixels=run.recipe.data.max_pixels,
    )
    try:
        batch = next(Loader(train, preprocess, plan).epoch(1))
    except (ClearsightError, OSError):
        return []  # gone or changed since it was trained on
    names = train.classes.names
    return [
        {"id": name, "label": names[label], "thumbnail": thumbnail(image)}
        for name, label, image in zip(batch.ids, batch.labels, batch.images, strict=True)
    ]
