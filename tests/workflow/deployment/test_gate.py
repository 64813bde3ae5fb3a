"""The gate compares probabilities at several batch sizes, and refuses by the limits of the precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from clearsight.core.bundle import Bundle
from clearsight.core.errors import BadBundle
from clearsight.core.exports import GateFigures, Precision
from clearsight.serving.predictor import Predictor
from clearsight.testing.mean_colour import CLASSES, SIZE, make_bundle, prepare
from clearsight.workflow.deployment.gate import TorchComparison, failure, run_gate
from clearsight.workflow.prepare.datasets import quiet

COUNT = 45  # no multiple of the batch sizes


@dataclass(frozen=True)
class ColourImages:
    """Labelled images of a colour each, in place of a dataset's."""

    source: str = "colours"

    @property
    def compared(self) -> range:
        return range(COUNT)

    def batches(self, dataset: range, preprocess: object, size: int) -> Iterator[tuple[Any, Any]]:
        values = np.random.default_rng(0).integers(0, 256, (COUNT, 1, 1, 3), dtype=np.uint8)
        pixels = np.broadcast_to(values, (COUNT, SIZE, SIZE, 3))
        labels = pixels[:, 0, 0].argmax(axis=1)
        for start in range(0, COUNT, size):
            yield np.ascontiguousarray(pixels[start : start + size]), labels[start : start + size]


class ScaledSession:
    """Session of the mean colour times `scale`, changed by `change`."""

    def __init__(self, scale: float, change: Callable[[Any], Any] = lambda logits: logits) -> None:
        self.scale, self.change = scale, change

    def run(self, images: Any) -> Any:
        means = images.mean(axis=(2, 3))
        logits = np.concatenate([means, np.full((len(means), len(CLASSES) - 3), -1e3)], axis=1) * self.scale
        return self.change(logits.astype(np.float32))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


def gate(bundle: Bundle, change: Callable[[Any], Any], scale: float = 1.0) -> GateFigures:
    exported, reference = (
        Predictor(bundle, session, prepare) for session in (ScaledSession(scale, change), ScaledSession(scale))
    )
    images: Any = ColourImages()
    return run_gate(exported, reference, images, 0.005, quiet)


def test_an_equal_model_passes(bundle: Bundle) -> None:
    figures = gate(bundle, lambda logits: logits)
    assert (figures.images, figures.batch_sizes, figures.agreement) == (COUNT, (1, 2, 7), 1.0)
    assert figures.probability_difference == 0
    assert failure(figures, "fp32") == ""


def test_large_logits_that_differ_by_rounding_pass(bundle: Bundle) -> None:
    figures = gate(bundle, lambda logits: logits * (1 + 1e-6), scale=1e5)
    assert failure(figures, "fp32") == ""


def test_an_error_at_one_batch_size_alone_is_found(bundle: Bundle) -> None:
    figures = gate(bundle, lambda logits: logits[:, [1, 0, 2, 3]] if len(logits) == 7 else logits)
    assert figures.agreement < 0.9
    assert "agrees with torch on" in failure(figures, "fp32")
    assert "of accuracy, more than 0.005" in failure(figures, "int8")


def test_a_model_that_cannot_run_a_batch_is_refused(bundle: Bundle) -> None:
    def fixed(logits: Any) -> Any:
        if len(logits) != 1:
            raise RuntimeError("expected a batch of 1")
        return logits

    with pytest.raises(BadBundle, match=r"it cannot run a batch of 2 \(expected a batch of 1\)"):
        gate(bundle, fixed)


def test_numbers_that_are_not_finite_never_pass(bundle: Bundle) -> None:
    figures = gate(bundle, lambda logits: logits * np.nan)
    assert (figures.agreement, figures.accuracy, figures.probability_difference) == (0, 0, 1)
    assert failure(figures, "fp16")
    with pytest.raises(BadBundle, match="the network itself gives numbers that are not finite"):
        gate(bundle, lambda logits: logits, scale=np.nan)


@pytest.mark.parametrize(
    ("values", "precision", "passes"),
    [
        ({}, "fp32", True),
        ({"agreement": 0.998}, "fp32", True),
        ({"agreement": 0.9979}, "fp32", False),
        ({"probability_difference": 1.1e-3}, "fp32", False),
        ({"agreement": 0.9, "probability_difference": 0.5}, "int8", True),
        ({"agreement": 0.9, "probability_difference": 0.5}, "fp16", True),
        ({"accuracy": 0.895}, "int8", True),
        ({"accuracy": 0.894}, "int8", False),
        ({"accuracy": 0.894}, "fp32", False),
        ({"accuracy": 0.95}, "int8", True),
    ],
)
def test_the_limits_are_those_of_the_precision(values: dict[str, Any], precision: Precision, passes: bool) -> None:
    figures = GateFigures(
        **{
            "images": 1000,
            "source": "",
            "agreement": 1.0,
            "probability_difference": 0.0,
            "accuracy": 0.9,
            "torch_accuracy": 0.9,
            "max_accuracy_loss": 0.005,
            **values,
        }
    )
    assert (failure(figures, precision) == "") is passes


def test_a_comparison_adds_up_over_batches() -> None:
    comparison, labels = TorchComparison(), np.array([0, 1])
    comparison.add(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([[0.8, 0.2], [0.4, 0.6]]), labels)
    comparison.add(np.array([[0.9, 0.1]]), np.array([[0.9, 0.1]]), labels[:1])
    assert (comparison.images, comparison.correct, comparison.torch_correct, comparison.same) == (3, 2, 3, 2)
    assert comparison.difference == pytest.approx(0.2)
