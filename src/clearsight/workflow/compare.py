"""compare: several runs side by side, with the settings in which they differ, their results, and their ranking."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadValue
from clearsight.core.files import finite_json, write_text
from clearsight.core.safe_text import csv_rows
from clearsight.reports.comparison.page import ComparisonPage, check_number, comparison_rows
from clearsight.reports.comparison.ranking import Ranking, rank_runs
from clearsight.reports.comparison.run import SPLITS, ComparedRun, differences
from clearsight.workflow.display.text import table
from clearsight.workflow.results.html import facts_html, table_html
from clearsight.workflow.run.external import ExternalRun, find_run
from clearsight.workflow.run.report import external_results, run_results

_WIDTH = 120  # columns of the summary
# Statistics of batch normalisation: a network keeps them beside its parameters.
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison:
    """Runs side by side, in the order in which they were named, and their ranking."""

    runs: Sequence[ComparedRun]
    ranking: Ranking

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table for the terminal: (setting or result, its value in each run ...), settings first."""
        return comparison_rows(self.runs)

    def __repr__(self) -> str:
        return "\n".join(comparison_lines(self, _WIDTH))

    def _repr_html_(self) -> str:
        labels = [run.label for run in self.runs]
        table = table_html(("", *labels), self.rows(), right=range(1, len(labels) + 1))
        facts = [("verdict", " ".join(self.ranking.sentences)), *(("warning", text) for text in self.ranking.warnings)]
        return facts_html(f"{len(labels)} runs", facts, table)

    def write_page(self, path: Path) -> None:
        """Write one self-contained HTML page."""
        write_text(path, ComparisonPage(self.runs).render())

    def to_json(self) -> dict[str, Any]:
        """Return the value that `clearsight compare --json` prints."""
        labels = [run.label for run in self.runs]
        settings = differences(self.runs)
        return dict(
            finite_json(
                {
                    "runs": [_run_json(run) for run in self.runs],
                    "differences": {name: dict(zip(labels, row, strict=True)) for name, row in settings.items()},
                    "split": self.ranking.split,
                    "best": self.ranking.best,
                    # A key that programs read by its first name.
                    "contests": [comparison.to_json() for comparison in self.ranking.comparisons],
                    "verdict": " ".join(self.ranking.sentences),
                    "warnings": self.ranking.warnings,
                }
            )
        )


def compare(paths: Sequence[str | Path]) -> Comparison:
    """Compare the runs in 2 to 12 folders. They may still be training.

    Raises BadValue for fewer, for more, or for a run that is named twice, NotFound where there is no run.
    """
    check_number(len(paths))
    folders = [Path(path) for path in paths]
    resolved = [folder.resolve() for folder in folders]
    # Resolved, so that a link or ".." does not hide a run that is named twice.
    if twice := [str(folder) for folder, place in zip(folders, resolved, strict=True) if resolved.count(place) > 1]:
        raise BadValue(twice[0], "it is named more than once", fix="Name each run once.")
    runs = [_read_run(folder, label) for folder, label in zip(folders, _labels(resolved), strict=True)]
    return Comparison(runs=runs, ranking=rank_runs(runs))


def comparison_lines(comparison: Comparison, width: int) -> list[str]:
    """Return a comparison for people: tables of as many runs as fit into `width` columns, then the verdict."""
    labels = [run.label for run in comparison.runs]
    lines: list[str] = []
    for first, end in _table_ranges(labels, comparison.rows(), width):
        cells = [(row[0], *row[1 + first : 1 + end]) for row in comparison.rows()]
        lines += [*table(("", *labels[first:end]), cells, right=range(1, end - first + 1)), ""]
    for run in comparison.runs:
        lines += [
            f"{finding.severity.value:<8} {run.label}: {finding.rule}: {finding.cause}" for finding in run.problems
        ]
    warnings = [f"warning  {warning}" for warning in comparison.ranking.warnings]
    return [*lines, *warnings, f"verdict  {' '.join(comparison.ranking.sentences)}"]


def _table_ranges(labels: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[tuple[int, int]]:
    """Return the runs of each table as (first, end), at least one run each."""
    widths = [max(len(cell) for cell in column) + 2 for column in zip(("", *labels), *rows, strict=True)]
    ranges, first, used = [], 0, widths[0]
    for index, column_width in enumerate(widths[1:]):
        if index > first and used + column_width > width:
            ranges.append((first, index))
            first, used = index, widths[0]
        used += column_width
    return [*ranges, (first, len(labels))]


def _labels(folders: Sequence[Path]) -> list[str]:
    """Return the last parts of each path, as few as make all labels different."""
    lengths = range(1, max(len(folder.parts) for folder in folders) + 1)
    candidates = (["/".join(folder.parts[-length:]) for folder in folders] for length in lengths)
    # There is one: the whole paths are different.
    return next(labels for labels in candidates if len(set(labels)) == len(labels))


def _read_run(folder: Path, label: str) -> ComparedRun:
    run = find_run(folder)
    losses = [row for row in run.metrics() if row["name"] == "loss"]  # the page draws no other curve by step
    if isinstance(run, ExternalRun):
        parameters = sum(math.prod(parameter.shape) for parameter in run.context.parameters)
        results = external_results(run, label, losses)
        return ComparedRun(label=label, path=str(folder), report=results, parameters=parameters or None)
    return ComparedRun(
        label=label,
        path=str(folder),
        report=run_results(run, label, losses),
        parameters=_parameters(run.bundle / "model.safetensors"),
        predictions=_predictions(run.files.predictions),
    )


def _predictions(path: Path) -> dict[str, tuple[str, str]] | None:
    """Return image -> (true class, predicted class); None where the predictions were not saved."""
    if not path.is_file():
        return None
    return {row["path"]: (row["true"], row["predicted"]) for row in csv_rows(path)}


def _parameters(weights: Path) -> int | None:
    """Return the number of parameters in a file of weights, read from its header alone; None without the file."""
    if not weights.is_file():
        return None
    from safetensors import safe_open

    # The header has the shapes: gigabytes of weights need not be read.
    with safe_open(weights, framework="numpy") as tensors:
        # Not iterable itself: safetensors has keys() alone.
        names = [name for name in tensors.keys() if name.rpartition(".")[2] not in _STATISTICS]  # noqa: SIM118
        return int(sum(math.prod(tensors.get_slice(name).get_shape()) for name in names))


def _run_json(run: ComparedRun) -> dict[str, Any]:
    report = run.report
    return {
        "label": run.label,
        "path": run.path,
        "status": report.status,
        "model": report.settings.get("model"),
        "parameters": run.parameters,
        "fingerprint": run.fingerprint or None,
        "epochs": len(report.epochs),
        "best_epoch": report.best["epoch"] if report.best else None,
        "seconds": report.seconds,
        "images_per_second": report.images_per_second,
        **{split: _score_json(run, split) for split in SPLITS},
        "findings": [
            {"rule": finding.rule, "severity": finding.severity.value, "cause": finding.cause, "fix": dict(finding.fix)}
            for finding in run.problems
        ],
    }


def _score_json(run: ComparedRun, split: str) -> Mapping[str, Any] | None:
    score = run.score(split)
    if score is None:
        return None
    return {
        "accuracy": score.accuracy,
        "accuracy_interval": list(score.interval) if score.interval else None,
        "macro_f1": score.macro_f1,
        "loss": score.loss,
        "images": score.images or None,
        "pictures": score.images or None,  # the name of this key before "images"
    }
