"""TrainedRun: a run as Python sees it: a summary of one screen, the same in a notebook, and its charts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clearsight.core.errors import ClearsightError
from clearsight.core.finding import Series, read_findings, verdict_counts
from clearsight.core.format import duration, speed
from clearsight.core.judge import root_findings
from clearsight.core.run import Run
from clearsight.workflow.results.figures import By, run_figure
from clearsight.workflow.results.html import curves_html, facts_html

if TYPE_CHECKING:
    import plotly.graph_objects as go

_SCORES = {"loss": "loss", "accuracy": "accuracy", "macro_f1": "macro F1", "roc_auc": "ROC-AUC"}


class TrainedRun(Run):
    """A training run with its summary and its charts. It is what is in the folder `path`, and `open` reads it again."""

    @classmethod
    def of(cls, run: Run) -> TrainedRun:
        """Return the same run with the methods of this class."""
        return cls(**vars(run))

    def plot(self, what: str = "loss", *, by: By | None = None, statistic: str = "l2") -> go.Figure:
        """Return a Plotly figure of this run.

        what: a metric ("loss", "accuracy", "macro_f1", "lr"), or "confusion", "calibration" or "classes" of the test
        images, or the name of a tensor that was saved (`clearsight.open_run(path).tensor_names()` lists them).
        by: "epoch" or "step"; by default by epoch where there are epochs of it.  statistic: of a tensor.
        Raises BadChoice with the nearest name for anything else, MissingExtra without plotly.
        """
        return run_figure(self, what, by, statistic)

    def __repr__(self) -> str:
        return "\n".join([f"Run {self.name}", *(f"  {name:<9} {value}" for name, value in self._facts() if value)])

    def _repr_html_(self) -> str:
        return facts_html(f"Run {self.name}", self._facts(), *self._curves())

    def _facts(self) -> list[tuple[str, str]]:
        reason = f" ({self.reason})" if self.reason else ""
        model = self.recipe.model
        frozen = f", {model.freeze} frozen" if model.freeze not in ("none", "auto") else ""
        counts = {split: sum(classes.values()) for split, classes in (self.data.get("counts") or {}).items()}
        images = ", ".join(f"{count:,} {split}" for split, count in counts.items())
        classes = f"{len(self.data['classes'])} classes" if self.data.get("classes") else ""
        pace = speed(self.images_per_second) if self.images_per_second else ""
        best = f", epoch {self.best_epoch}" if self.best_epoch else ""
        return [
            ("path", str(self.path)),
            ("status", f"{self.status.value.replace('_', ' ')}{reason} after {duration(self.seconds)}"),
            ("model", f"{model.model}{frozen}"),
            ("data", ", ".join(filter(None, (str(self.data.get("path", "")), classes, images)))),
            ("valid", _scores_text(self.scores.get("valid"), best)),
            ("test", _scores_text(self.scores.get("test"))),
            ("speed", pace),
            ("findings", self._findings()),
        ]

    def _findings(self) -> str:
        try:
            findings = read_findings(self.files.findings)
        except ClearsightError:  # a summary is shown even of a folder that is damaged
            return "findings.jsonl cannot be read"
        causes = [f"{finding.rule} ({finding.severity.value})" for finding in root_findings(findings)]
        return ", ".join(causes) or (verdict_counts(findings).removeprefix("rules").strip() if findings else "")

    def _curves(self) -> list[str]:
        epochs = self.epochs() if self.files.metrics().is_file() else []
        return [
            curves_html(
                metric,
                [
                    Series.of(name, [row["epoch"] for row in rows], [row[key][metric] for row in rows])
                    for name, key in (("training", "train"), ("validation", "valid"))
                    if (rows := [row for row in epochs if row[key].get(metric) is not None])
                ],
            )
            for metric in ("loss", "accuracy")
        ]


def _scores_text(scores: Any, more: str = "") -> str:
    """Return scores as text; "" without scores."""
    if not scores:
        return ""
    return " ".join(f"{text} {scores[name]:.4f}" for name, text in _SCORES.items() if name in scores) + more
