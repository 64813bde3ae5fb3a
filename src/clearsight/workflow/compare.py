"""compare: several runs beside each other: what was set differently, what came of it, and whether that is chance."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadValue
from clearsight.core.files import read_json, write_text
from clearsight.core.finding import read_findings
from clearsight.core.run import Run
from clearsight.reports.comparison.page import check_number, compare_page, comparison_rows
from clearsight.reports.comparison.ranking import Ranking, rank_runs
from clearsight.reports.comparison.run import SPLITS, ComparedRun, differences
from clearsight.reports.run.report_data import RunReportData

# What a network keeps beside its parameters: statistics of batch normalisation.
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs beside each other, in the order in which they were named, and how they stand."""

    runs: Sequence[ComparedRun]
    standing: Ranking

    def rows(self) -> list[tuple[str, ...]]:
        """For people: (setting or result, its value in each run ...), settings that differ first."""
        return comparison_rows(self.runs)

    def page(self) -> str:
        """One self-contained HTML page."""
        return compare_page(self.runs)

    def write_page(self, path: Path) -> None:
        """Write the page to a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, self.page())

    def to_json(self) -> dict[str, Any]:
        """The shape of `clearsight compare --json`."""
        labels = [run.label for run in self.runs]
        settings = differences(self.runs)
        return {
            "runs": [_told(run) for run in self.runs],
            "differences": {name: dict(zip(labels, values, strict=True)) for name, values in settings.items()},
            "split": self.standing.split,
            "best": list(self.standing.best),
            "contests": [contest.to_json() for contest in self.standing.contests],
            "verdict": " ".join(self.standing.sentences),
            "warnings": list(self.standing.warnings),
        }


def compare(paths: Sequence[str | Path]) -> Comparison:
    """Set the runs in 2 to 12 folders beside each other; they may still be growing.

    Raises BadValue for fewer, more, or the same one twice, NotFound where there is no run.
    """
    check_number(len(paths))
    folders = [Path(path) for path in paths]
    resolved = [folder.resolve() for folder in folders]
    if twice := [str(folder) for folder, place in zip(folders, resolved, strict=True) if resolved.count(place) > 1]:
        raise BadValue(twice[0], "it is named more than once", fix="Name each run once.")
    runs = [_gathered(folder, label) for folder, label in zip(folders, _labels(resolved), strict=True)]
    return Comparison(runs=runs, standing=rank_runs(runs))


def _labels(folders: Sequence[Path]) -> list[str]:
    """The shortest end of each path that no other one has."""
    for length in range(1, max(len(folder.parts) for folder in folders) + 1):
        labels = ["/".join(folder.parts[-length:]) for folder in folders]
        if len(set(labels)) == len(labels):
            return labels
    return [str(folder) for folder in folders]


def _gathered(folder: Path, label: str) -> ComparedRun:
    run = Run.open(folder)
    measured = folder / "evaluation" / "metrics.json"
    evaluation = read_json(measured) if measured.is_file() else None
    facts = RunReportData(
        name=label,
        status=run.status.value,
        reason=run.reason,
        recipe=run.recipe.to_yaml(),
        seed=run.seed,
        data=run.data,
        command=run.command,
        seconds=run.seconds,
        images_per_second=run.images_per_second,
        best_epoch=run.best_epoch,
        epochs=run.epochs(),
        steps=[line for line in run.metrics() if line["name"] == "loss"],
        evaluation=evaluation,
        split=evaluation["split"] if evaluation else "test",
        findings=read_findings(folder / "findings.jsonl"),
    )
    return ComparedRun(
        label=label,
        path=str(folder),
        facts=facts,
        parameters=_parameters(run.bundle / "model.safetensors"),
        answers=_answers(folder / "evaluation" / "predictions.csv"),
    )


def _answers(path: Path) -> dict[str, tuple[str, str]] | None:
    """Image -> (its class, the class it was taken for); None where nobody wrote them down."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as lines:
        return {row["path"]: (row["true"], row["predicted"]) for row in csv.DictReader(lines)}


def _parameters(weights: Path) -> int | None:
    """How many parameters a file of weights holds, from its header alone; None where there is no file."""
    if not weights.is_file():
        return None
    from safetensors import safe_open

    with safe_open(weights, framework="numpy") as tensors:
        names = [name for name in tensors.keys() if name.rpartition(".")[2] not in _STATISTICS]  # noqa: SIM118
        return int(sum(math.prod(tensors.get_slice(name).get_shape()) for name in names))


def _told(run: ComparedRun) -> dict[str, Any]:
    facts = run.facts
    return {
        "label": run.label,
        "path": run.path,
        "status": facts.status,
        "model": facts.settings.get("model"),
        "parameters": run.parameters,
        "fingerprint": run.fingerprint or None,
        "epochs": len(facts.epochs),
        "best_epoch": facts.best["epoch"] if facts.best else None,
        "seconds": facts.seconds,
        "images_per_second": facts.images_per_second,
        **{split: _scores(run, split) for split in SPLITS},
        "findings": [
            {"rule": one.rule, "severity": one.severity.value, "cause": one.cause, "fix": dict(one.fix)}
            for one in run.problems
        ],
    }


def _scores(run: ComparedRun, split: str) -> Mapping[str, Any] | None:
    found = run.score(split)
    if found is None:
        return None
    return {
        "accuracy": found.accuracy,
        "accuracy_interval": list(found.interval) if found.interval else None,
        "macro_f1": _finite(found.macro_f1),
        "loss": _finite(found.loss),
        "images": found.images or None,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
