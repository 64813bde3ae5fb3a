"""Report of a run: gathers its data from the run folder and writes the page and its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from clearsight.core.bundle import Bundle
from clearsight.core.context import RunContext
from clearsight.core.dataset import Dataset
from clearsight.core.errors import ClearsightError
from clearsight.core.files import read_json
from clearsight.core.finding import read_findings
from clearsight.core.preprocess import PRESETS, Preprocess
from clearsight.core.profile import Profile
from clearsight.core.profile_folder import read_profile
from clearsight.core.recipe import Recipe
from clearsight.core.rule import Rule
from clearsight.core.run import Run, RunFolder
from clearsight.core.run_facts import read_evaluation
from clearsight.core.secrets import redact_command
from clearsight.data.decode import decode
from clearsight.data.loader import Loader, LoadPlan
from clearsight.profiler.analysis.what_if import what_if
from clearsight.profiler.rules import PROFILER_RULES
from clearsight.reports.kit.thumbnail import thumbnail
from clearsight.reports.run.page import RunPage
from clearsight.reports.run.report_data import RunReportData
from clearsight.workflow.prepare.datasets import list_dataset
from clearsight.workflow.prepare.defaults import plain_settings
from clearsight.workflow.run.external import ExternalRun
from clearsight.workflow.run.rules import code_texts, only_trusted, recipe_rules

# Images that are decoded for the page; a thumbnail is about 4 kB.
_GALLERY = 24
_TYPICAL = 12
_SAMPLES = 16


def write_report(run: Run, data: Dataset | None = None, preprocess: Preprocess | None = None) -> Path:
    """Write report.html and report.json of a run, however it ended. Return the path of the page.

    data: the dataset, so that galleries show the images themselves.  preprocess: the preprocessing of the model.
    """
    return _write(run.files, run_report_data(run, data, preprocess))


def rewrite_report(run: Run | ExternalRun) -> Path:
    """Write the report again, with images if the data are still in their place. Return the path of the page."""
    if isinstance(run, ExternalRun):
        return _write(run.files, replace(external_results(run, run.name, run.metrics()), **_measured(run.files)))
    only_trusted(run.recipe, (), run.files.recipe)  # says what the page is made without
    source = Path(run.data["path"]) if run.data else None
    # The same seed gives the same splits, so the galleries show the same images.
    data = list_dataset(source, run.recipe.data, run.seed) if source is not None and source.exists() else None
    return write_report(run, data, Bundle.open(run.bundle).preprocess if run.has_bundle else None)


def write_external_report(folder: Path, *, name: str, status: str, command: Sequence[str], seconds: float) -> Path:
    """Write the report of an external training loop, from the profile and the findings in `folder`.

    Return the path of the page.
    """
    files = RunFolder(folder)
    report = RunReportData(
        name=name,
        status=status,
        command=redact_command(command),
        seconds=seconds,
        findings=read_findings(files.findings),
        # Rules about learning need tensors, which only a hook in the loop can save.
        rules=[_rule(kind()) for _, kind in PROFILER_RULES if not kind.optional],
        external=True,
        **_measured(files),
    )
    return _write(files, report)


def run_results(run: Run, name: str, steps: Sequence[Mapping[str, Any]]) -> RunReportData:
    """Return what the pages of a run and of a comparison have in common. steps: the rows of metrics.jsonl to show."""
    evaluation = read_evaluation(run.files.scores) if run.files.scores.is_file() else None
    return RunReportData(
        name=name,
        status=run.status.value,
        reason=run.reason,
        recipe=run.recipe.without_secrets().to_yaml(),
        seed=run.seed,
        data=run.data,
        command=run.provenance.command,
        seconds=run.seconds,
        images_per_second=run.images_per_second,
        best_epoch=run.best_epoch,
        refit=run.refit,
        second_phase=run.second_phase,
        epochs=run.epochs(),
        steps=steps,
        evaluation=evaluation,
        failed_steps=run.failed_steps,
        split=evaluation["split"] if evaluation else "test",
        findings=read_findings(run.files.findings),
    )


def external_results(run: ExternalRun, name: str, steps: Sequence[Mapping[str, Any]]) -> RunReportData:
    """Return what `run_results` does, of a training loop of the user's own that a Hook recorded."""
    context = run.context
    known = {"model": context.model, "optimizer": context.optimizer, "loss": context.loss, "lr": context.lr}
    known |= {"batch_size": context.batch_size, "epochs": context.epochs}
    settings = {name: value for name, value in known.items() if value}
    return RunReportData(
        name=name,
        status=run.status.value,
        recipe=yaml.safe_dump(settings, sort_keys=False) if settings else "",
        data=run.data,
        epochs=run.epochs(),
        steps=steps,
        findings=read_findings(run.files.findings),
        external=True,
    )


def _measured(files: RunFolder) -> dict[str, Any]:
    """Return what the profiler measured of an external loop, as fields of RunReportData."""
    profile = read_profile(files.profile)
    hot_lines = _read_if_there(files.hot_lines) or []
    return {"profile": profile, "what_if": _estimates(profile, RunContext()), "hotlines": hot_lines}


def run_report_data(run: Run, data: Dataset | None, preprocess: Preprocess | None = None) -> RunReportData:
    """Return everything that the page shows, gathered from the run folder."""
    files, results = run.files, run_results(run, run.name, run.metrics())
    evaluation, profile = results.evaluation or {}, read_profile(files.profile)
    context = RunContext(batch_size=run.recipe.train.batch_size, settings=plain_settings(run.recipe.without_secrets()))
    return replace(
        results,
        versions=run.provenance.versions,
        hardware=run.provenance.hardware,
        reliability=evaluation.get("reliability", ()),
        mistakes=list(_gallery(evaluation.get("mistakes", ())[:_GALLERY], data, preprocess)),
        typical=list(_gallery(evaluation.get("typical", ())[:_TYPICAL], data, preprocess)),
        samples=_samples(run, data, preprocess),
        notices=run.data.get("notices", ()),
        rules=_rules(run.recipe),
        actions=_read_if_there(files.actions) or [],
        profile=profile,
        what_if=_estimates(profile, context),
        tuning=_read_if_there(files.auto_tune),
    )


def _write(files: RunFolder, report: RunReportData) -> Path:
    RunPage(report).write(files.report, files.report_json)
    return files.report


def _rules(recipe: Recipe) -> list[dict[str, Any]]:
    """Return the rules of a recipe for the page. Those in files have their texts: a page runs no code of a folder."""
    code = code_texts(recipe.debug)
    files = [*code["rules"], *code["rule"]] if recipe.debug.debug != "off" else []
    shown = [_rule(rule) for rule in recipe_rules(only_trusted(recipe, ()))]
    return [*shown, *({"name": text, "parameters": {}, "topic": "learning"} for text in files)]


def _rule(rule: Rule) -> dict[str, Any]:
    return {"name": rule.name, "parameters": rule.parameters(), "topic": rule.topic}


def _estimates(profile: Profile, context: RunContext) -> list[dict[str, Any]]:
    return [asdict(estimate) for estimate in what_if(profile, context)]


def _read_if_there(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


def _gallery(
    predictions: Iterable[Mapping[str, Any]], data: Dataset | None, preprocess: Preprocess | None
) -> Iterable[dict[str, Any]]:
    locators = {sample.id: sample.locator for sample in data.samples} if data is not None else {}
    for prediction in predictions:
        entry = {"id": prediction["path"], **{key: prediction[key] for key in ("true", "predicted", "probability")}}
        if data is not None and prediction["path"] in locators:
            try:
                raw = data.source.read(locators[prediction["path"]])
                pixels = decode(raw, value_range=preprocess.value_range if preprocess else None)
            except (ClearsightError, OSError):
                continue  # gone or changed since it was evaluated: the gallery does without it
            entry["thumbnail"] = thumbnail(pixels)
        yield entry


def _samples(run: Run, data: Dataset | None, preprocess: Preprocess | None) -> list[dict[str, Any]]:
    """Return some training images as the model got them in the first epoch."""
    train = data.split("train") if data is not None else None
    if train is None or preprocess is None or not len(train):
        return []
    plan = LoadPlan(
        batch_size=_SAMPLES,
        augment=PRESETS[run.recipe.data.resolved_augment],
        order="shuffled",
        seed=run.seed,  # that of the training, so that the same images get the same augmentation
        workers=0,
        max_pixels=run.recipe.data.max_pixels,
    )
    try:
        batch = next(Loader(train, preprocess, plan).epoch(1))
    except (ClearsightError, OSError):
        return []  # gone or changed since the training
    names = train.classes.names
    return [
        {"id": name, "label": names[label], "thumbnail": thumbnail(image)}
        for name, label, image in zip(batch.ids, batch.labels, batch.images, strict=True)
    ]
