"""evaluate: measure a bundle on labelled images, through the very path that serves them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.bundle import Bundle, open_bundle
from clearsight.core.dataset import Dataset
from clearsight.core.errors import EmptyInput
from clearsight.core.files import write_json, write_text
from clearsight.core.machine import cores
from clearsight.core.recipe import DataSection, Recipe
from clearsight.core.statistics import wilson
from clearsight.data.geometry import normalise
from clearsight.data.loader import Loader, LoadPlan
from clearsight.training import metrics
from clearsight.workflow.paths import Paths
from clearsight.workflow.predictors import open_predictor
from clearsight.workflow.prepare.datasets import Progress, loader_workers, open_for_model, quiet

_MISTAKES = 50
_TYPICAL = 12
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Outputs of a model on N labelled images of C classes, and what follows from them.

    logits: (N, C) as the model gives them.  temperature: divides them before the softmax, as the endpoint does.
    """

    split: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]
    temperature: float

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """(N, C), as served."""
        return metrics.softmax(self.logits / self.temperature)

    def scores(self) -> dict[str, float]:
        """loss, accuracy, macro_f1, and roc_auc with two classes: the scores that training reports too."""
        return metrics.scores(self.logits, self.labels)

    def to_json(self) -> dict[str, Any]:
        """The shape of `clearsight evaluate --json`."""
        served, n = self.probabilities, len(self.labels)
        table = metrics.confusion(self.logits.argmax(axis=1), self.labels, len(self.classes))
        each, found = metrics.per_class(table), self.scores()
        return {
            "accuracy": found["accuracy"],
            "accuracy_interval": list(wilson(round(found["accuracy"] * n), n)),
            "top5": metrics.top_k(self.logits, self.labels, 5),
            "macro_f1": found["macro_f1"],
            "roc_auc": found.get("roc_auc"),
            "loss": found["loss"],
            "ece": metrics.expected_calibration_error(served, self.labels),
            "ece_uncalibrated": metrics.expected_calibration_error(metrics.softmax(self.logits), self.labels),
            "temperature": self.temperature,
            "n": n,
            "split": self.split,
            "per_class": {
                name: {
                    "precision": float(each.precision[i]),
                    "recall": float(each.recall[i]),
                    "f1": float(each.f1[i]),
                    "support": int(each.support[i]),
                }
                for i, name in enumerate(self.classes)
            },
            "confusion": {"labels": list(self.classes), "matrix": table.tolist()},
            "mistakes": self.mistakes(),
        }

    def mistakes(self, most: int = _MISTAKES) -> list[dict[str, Any]]:
        """The wrong answers given with most confidence: {"path", "true", "predicted", "probability"}."""
        served = self.probabilities
        predicted = served.argmax(axis=1)
        wrong = np.flatnonzero(predicted != self.labels)
        order = wrong[np.argsort(-served[wrong, predicted[wrong]], kind="stable")][:most]
        return self._answers(order, served)

    def typical(self, most: int = _TYPICAL) -> list[dict[str, Any]]:
        """Right answers of middling confidence for their class, class by class in turn; as in `mistakes`."""
        served = self.probabilities
        right = np.flatnonzero(served.argmax(axis=1) == self.labels)
        queues = []
        for label in np.unique(self.labels[right]):
            own = right[self.labels[right] == label]
            sure = served[own, label]
            queues.append(own[np.argsort(np.abs(sure - np.median(sure)), kind="stable")])
        turns = range(max(map(len, queues), default=0))
        order = [int(queue[turn]) for turn in turns for queue in queues if turn < len(queue)]
        return self._answers(order[:most], served)

    def _answers(self, order: Iterable[int], served: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
        predicted = served.argmax(axis=1)
        return [
            {
                "path": self.ids[i],
                "true": self.classes[self.labels[i]],
                "predicted": self.classes[predicted[i]],
                "probability": float(served[i, predicted[i]]),
            }
            for i in order
        ]

    def reliability(self) -> list[dict[str, Any]]:
        """Occupied confidence bins: {"confidence", "accuracy", "count"}."""
        return [asdict(one) for one in metrics.reliability(self.probabilities, self.labels)]

    def write(self, folder: Path) -> None:
        """predictions.csv (path, true, predicted, probability, one column per class) and metrics.json."""
        served, text = self.probabilities, io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["path", "true", "predicted", "probability", *(f"p:{name}" for name in self.classes)])
        for name, label, row in zip(self.ids, self.labels, served, strict=True):
            best = int(row.argmax())
            shares = (f"{p:.6g}" for p in row)
            rows.writerow([name, self.classes[label], self.classes[best], f"{row[best]:.6g}", *shares])
        write_text(folder / "predictions.csv", text.getvalue())
        more = {"reliability": self.reliability(), "typical": self.typical()}
        write_json(folder / "metrics.json", {**self.to_json(), **more})


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    device: str = "cpu",
    places: Paths | None = None,
    progress: Progress = quiet,
    **settings: Any,
) -> Evaluation:
    """Measure the run or bundle `model` on `data`: its test split or `split`, or all of a bare folder of classes.

    settings: fields of the recipe's data section (`format`, `label_column`, `limit`, `on_bad`, `ignore_class`, ...).
    """
    how = Recipe().replace(**settings).data if settings else DataSection()
    with open_bundle(Path(model)) as bundle:
        kept, path = places or Paths.of({}), Path(data).expanduser().resolve()
        dataset = open_for_model(path, how, bundle.class_map, split, kept, progress)
        return measure(bundle, dataset, device=device, progress=progress, how=how)


def measure(
    bundle: Bundle, dataset: Dataset, *, device: str = "cpu", progress: Progress = quiet, how: DataSection | None = None
) -> Evaluation:
    """Run `bundle` over every image of `dataset`, which has the bundle's classes."""
    if not len(dataset):
        raise EmptyInput(dataset.path, "there is nothing to evaluate on", fix="Choose another split with --split.")
    how = how or DataSection()
    # Decoding and inference take turns on the cores of a small machine; half of them for reading is enough.
    plan = LoadPlan(batch_size=_BATCH, workers=max(1, loader_workers(how) // 2), max_pixels=how.max_pixels)
    predictor = open_predictor(bundle, device=device, threads=cores())
    logits, done = [], 0
    for batch in Loader(dataset, bundle.preprocess, plan).epoch(1):
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
    )
