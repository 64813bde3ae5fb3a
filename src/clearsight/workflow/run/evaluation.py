"""Evaluation: outputs of a bundle on labelled images, and their scores, by the same code that serves them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clearsight.core.bundle import Bundle
from clearsight.core.dataset import Dataset
from clearsight.core.errors import EmptyInput
from clearsight.core.files import write_json, write_text
from clearsight.core.machine import cores
from clearsight.core.probabilities import calibrated, softmax
from clearsight.core.recipe import DataSection
from clearsight.core.safe_text import csv_text
from clearsight.core.statistics import wilson
from clearsight.data.geometry import normalise
from clearsight.data.loader import Loader, LoadPlan
from clearsight.training import metrics
from clearsight.workflow.display.text import evaluation_lines
from clearsight.workflow.predictors import open_or_torch
from clearsight.workflow.prepare.datasets import Progress, loader_workers, quiet
from clearsight.workflow.results.figures import evaluation_figure
from clearsight.workflow.results.html import facts_html, table_html

if TYPE_CHECKING:
    import plotly.graph_objects as go

_MISTAKES = 50  # listed at most
_TYPICAL = 12  # correct predictions for the gallery
_BATCH = 32  # images in memory at a time


_LINES_SHOWN = 30  # of the summary, which must fit one screen
_HTML_CLASSES = 24  # in a notebook


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation:
    """Outputs of a model on N labelled images of C classes, and the scores that follow from them.

    logits: (N, C) float32.  temperature, calibration: those of the bundle; see core.probabilities.calibrated.
    """

    split: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]
    temperature: float
    calibration: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Return the served probabilities, (N, C)."""
        return softmax(self._served_logits)

    @cached_property
    def _served_logits(self) -> npt.NDArray[np.float64]:
        return calibrated(self.logits, self.temperature, self.calibration)

    @cached_property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Return the index of the most probable class, (N,)."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    def scores(self) -> dict[str, float]:
        """Return loss, accuracy, macro_f1, and roc_auc with two classes: the scores that training reports too."""
        return metrics.scores(self.logits, self.labels)

    def to_json(self) -> dict[str, Any]:
        """Return the shape of `clearsight evaluate --json`."""
        n = len(self.labels)
        table = metrics.confusion(self.logits.argmax(axis=1), self.labels, len(self.classes))
        per_class, scores = metrics.per_class(table), self.scores()
        return {
            "accuracy": scores["accuracy"],
            # round: a share times n is whole but for its last bits.
            "accuracy_interval": list(wilson(round(scores["accuracy"] * n), n)),
            "top5": metrics.top_k(self.logits, self.labels, 5),
            "macro_f1": scores["macro_f1"],
            "roc_auc": scores.get("roc_auc"),
            "loss": scores["loss"],  # of the logits, as in training
            "loss_served": metrics.cross_entropy(self._served_logits, self.labels),
            "ece": metrics.expected_calibration_error(self.probabilities, self.labels),
            # What the calibration has changed.
            "ece_uncalibrated": metrics.expected_calibration_error(softmax(self.logits), self.labels),
            "temperature": self.temperature,
            "calibration": dict(self.calibration) or None,
            "n": n,
            "split": self.split,
            "per_class": {
                name: {
                    "precision": float(per_class.precision[i]),
                    "recall": float(per_class.recall[i]),
                    "f1": float(per_class.f1[i]),
                    "support": int(per_class.support[i]),
                }
                for i, name in enumerate(self.classes)
            },
            "confusion": {"labels": list(self.classes), "matrix": table.tolist()},
            "mistakes": self.mistakes(),
        }

    def plot(self, what: str = "confusion") -> go.Figure:
        """Return a Plotly figure: "confusion", "calibration" or "classes". Raises BadChoice for another name."""
        return evaluation_figure({**self.to_json(), "reliability": self.reliability()}, what, f"the {self.split} split")

    def __repr__(self) -> str:
        lines = evaluation_lines(self.to_json())
        more = [f"... and {len(lines) - _LINES_SHOWN} more lines"] if len(lines) > _LINES_SHOWN else []
        return "\n".join([*lines[:_LINES_SHOWN], *more])

    def _repr_html_(self) -> str:
        values = self.to_json()
        low, high = values["accuracy_interval"]
        facts = [
            ("accuracy", f"{values['accuracy']:.4f} (95 % interval {low:.3f} to {high:.3f})"),
            ("macro F1", f"{values['macro_f1']:.4f}"),
            ("ROC-AUC", "" if values["roc_auc"] is None else f"{values['roc_auc']:.4f}"),
            ("loss", f"{values['loss_served']:.4f} as served, {values['loss']:.4f} without calibration"),
            ("ECE", f"{values['ece']:.4f} (temperature {self.temperature:.3g})"),
        ]
        rows = [
            (name, *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")), f"{row['support']:,}")
            for name, row in list(values["per_class"].items())[:_HTML_CLASSES]
        ]
        table = table_html(("class", "precision", "recall", "F1", "images"), rows, right=range(1, 5))
        return facts_html(f"{values['n']:,} images of the {self.split} split", facts, table)

    def mistakes(self, most: int = _MISTAKES) -> list[dict[str, Any]]:
        """Return the most confident wrong predictions: {"path", "true", "predicted", "probability"}."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        confidence = self.probabilities[wrong, self.predicted[wrong]]
        return self._records(wrong[np.argsort(-confidence, kind="stable")][:most])

    def typical(self, most: int = _TYPICAL) -> list[dict[str, Any]]:
        """Return correct predictions of median confidence, the classes in turn; fields as in `mistakes`."""
        correct = np.flatnonzero(self.predicted == self.labels)
        queues = []
        for label in np.unique(self.labels[correct]):
            members = correct[self.labels[correct] == label]
            # Median, since the most confident ones are easy and all alike.
            confidence = self.probabilities[members, label]
            queues.append(members[np.argsort(np.abs(confidence - np.median(confidence)), kind="stable")])
        turns = range(max(map(len, queues), default=0))
        # In turn: a class with many images must not fill the gallery.
        order = [int(queue[turn]) for turn in turns for queue in queues if turn < len(queue)]
        return self._records(order[:most])

    def _records(self, order: Iterable[int]) -> list[dict[str, Any]]:
        return [
            {
                "path": self.ids[i],
                "true": self.classes[self.labels[i]],
                "predicted": self.classes[self.predicted[i]],
                "probability": float(self.probabilities[i, self.predicted[i]]),
            }
            for i in order
        ]

    def reliability(self) -> list[dict[str, Any]]:
        """Return the confidence bins that hold images: {"confidence", "accuracy", "count"}."""
        return [asdict(each) for each in metrics.reliability(self.probabilities, self.labels)]

    def write(self, folder: Path) -> None:
        """Write predictions.csv (path, true, predicted, probability, one column per class) and metrics.json."""
        rows: list[list[str]] = [["path", "true", "predicted", "probability", *(f"p:{name}" for name in self.classes)]]
        for name, label, best, row in zip(self.ids, self.labels, self.predicted, self.probabilities, strict=True):
            probabilities = (f"{p:.6g}" for p in row)
            rows.append([name, self.classes[label], self.classes[best], f"{row[best]:.6g}", *probabilities])
        write_text(folder / "predictions.csv", csv_text(rows))
        more = {"reliability": self.reliability(), "typical": self.typical()}
        write_json(folder / "metrics.json", {**self.to_json(), **more})


def measure(
    bundle: Bundle,
    dataset: Dataset,
    *,
    device: str = "cpu",
    progress: Progress = quiet,
    section: DataSection | None = None,
) -> Evaluation:
    """Run `bundle` over every image of `dataset`, which has the bundle's classes."""
    if not len(dataset):
        raise EmptyInput(dataset.path, "there is nothing to evaluate on", fix="Choose another split with --split.")
    section = section or DataSection()
    # Decoding and inference share the cores of a small machine: half of them for loading is enough.
    plan = LoadPlan(batch_size=_BATCH, workers=max(1, loader_workers(section) // 2), max_pixels=section.max_pixels)
    predictor = open_or_torch(bundle, device=device, threads=cores())
    logits, done = [], 0
    for batch in Loader(dataset, bundle.preprocess, plan).epoch(1):
        # Not the softmax: scores and temperature need logits.
        logits.append(predictor.session.run(normalise(batch.images, bundle.preprocess)))
        done += len(batch.labels)
        progress("evaluating", done, len(dataset))
    return Evaluation(
        split=dataset.samples[0].split,
        classes=bundle.classes,
        ids=tuple(sample.id for sample in dataset.samples),
        labels=dataset.labels(),
        logits=np.concatenate(logits),
        temperature=bundle.temperature,
        calibration=bundle.calibration,
    )
