"""Shapes of the JSON objects in a run folder: what run.json and evaluation/metrics.json must hold, as they are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Field, FiniteFloat

from clearsight.core.files import read_json
from clearsight.core.preprocess import Preprocess
from clearsight.core.records import Shape, has_shape, read_shape

Number: TypeAlias = int | FiniteFloat


class NoticeFacts(Shape):
    """A Notice about the data, in run.json."""

    code: str
    text: str
    paths: tuple[str, ...] = ()


class DataFacts(Shape):
    """Facts of the dataset of a run. counts: images by split and class."""

    path: str
    fingerprint: str = ""
    classes: tuple[str, ...] = ()
    counts: Mapping[str, dict[str, int]] = Field(default_factory=dict)
    notices: tuple[NoticeFacts, ...] = ()


class WeightsFacts(Shape):
    """Start weights of a run."""

    origin: str
    file: str = ""
    sha256: str = ""
    preprocess: Preprocess


class FailedStepFacts(Shape):
    """FailedStep.to_json."""

    step: str
    problem: str
    command: str


class RefitFacts(Shape):
    """Result of --refit: epochs on images, or the reason why it was not done."""

    epochs: int
    images: int
    reason: str


class ScoresFacts(Shape):
    """Scores of a run by name; None for a split without images."""

    valid: dict[str, Number | None] | None = None
    test: dict[str, Number | None] | None = None


FailedSteps: TypeAlias = list[Annotated[dict[str, Any], has_shape(FailedStepFacts)]]


class ClassScores(Shape):
    """Scores of one class. support: its test images."""

    precision: Number | None
    recall: Number | None
    f1: Number | None
    support: int


class ConfusionFacts(Shape):
    """Counts (C, C) of true and predicted classes, in the order of `labels`."""

    labels: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]


class ReliabilityBin(Shape):
    """One bin of the calibration chart."""

    confidence: Number
    accuracy: Number
    count: int


class PredictionFacts(Shape):
    """One test image in evaluation/metrics.json."""

    path: str
    true: str
    predicted: str
    probability: Number


class EvaluationScores(Shape):
    """Scores in evaluation/metrics.json; None where the split is too small for them."""

    accuracy: Number | None = None
    accuracy_interval: tuple[Number, Number] | None = None
    top5: Number | None = None
    macro_f1: Number | None = None
    roc_auc: Number | None = None
    loss: Number | None = None
    loss_served: Number | None = None
    ece: Number | None = None
    ece_uncalibrated: Number | None = None
    temperature: Number | None = None


class EvaluationFacts(EvaluationScores):
    """Content of evaluation/metrics.json."""

    n: int = 0
    split: str = ""
    per_class: Mapping[str, ClassScores] = Field(default_factory=dict)
    confusion: ConfusionFacts | None = None
    mistakes: tuple[PredictionFacts, ...] = ()
    reliability: tuple[ReliabilityBin, ...] = ()
    typical: tuple[PredictionFacts, ...] = ()


def read_evaluation(path: Path) -> dict[str, Any]:
    """Return evaluation/metrics.json; raises NotFound without the file, BadData for one of another form."""
    return read_shape(EvaluationFacts, read_json(path), str(path))
