"""Gate: an exported model gets into a bundle only if it agrees with the network in torch on labelled images.

Probabilities are compared, not logits: a tolerance on logits refuses networks whose logits are large.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadBundle, as_bad_bundle
from clearsight.core.exports import BATCH_SIZES, GateFigures, Precision
from clearsight.serving.payload import Probabilities
from clearsight.serving.predictor import Predictor
from clearsight.workflow.deployment.images import LabelledImages, Pixels
from clearsight.workflow.predictors import probabilities_of
from clearsight.workflow.prepare.datasets import Progress

_AGREEMENT = 0.998  # share of images with the same class, in float32
_DIFFERENCE = 1e-3  # of a probability, in float32: kernels differ in the order of their sums
_ROUNDING = 1e-9  # of a difference of two shares
_BATCH = math.lcm(*BATCH_SIZES) * 2  # images in memory: a multiple of every batch size


@dataclass
class TorchComparison:
    """Running comparison of probabilities (N, C) with those of torch, on the same images.

    Numbers that are not finite count as another class and as the largest difference.
    """

    images: int = 0
    correct: int = 0
    torch_correct: int = 0
    same: int = 0
    difference: float = 0.0

    def add(self, rows: Probabilities, reference: Probabilities, labels: npt.NDArray[np.int64]) -> None:
        """Add images. rows, reference: (N, C).  labels: (N,)."""
        finite = np.isfinite(rows).all(axis=1)
        predicted = np.where(finite, np.nan_to_num(rows).argmax(axis=1), -1)
        torch_predicted = reference.argmax(axis=1)
        self.images += len(labels)
        self.correct += int((predicted == labels).sum())
        self.torch_correct += int((torch_predicted == labels).sum())
        self.same += int((predicted == torch_predicted).sum())
        worst = float(np.abs(rows - reference).max()) if finite.all() else 1.0
        self.difference = max(self.difference, min(1.0, worst))


@dataclass
class Gate:
    """Comparisons of an exported model with torch, one for each batch size."""

    max_accuracy_loss: float
    source: str
    comparisons: dict[int, TorchComparison] = field(default_factory=dict)

    def figures(self) -> GateFigures:
        """Return the worst figures of all batch sizes."""
        each = list(self.comparisons.values())
        images = each[0].images
        return GateFigures(
            images=images,
            source=self.source,
            batch_sizes=tuple(self.comparisons),
            agreement=min(comparison.same for comparison in each) / images,
            probability_difference=max(comparison.difference for comparison in each),
            accuracy=min(comparison.correct for comparison in each) / images,
            torch_accuracy=each[0].torch_correct / images,
            max_accuracy_loss=self.max_accuracy_loss,
        )


def run_gate(
    exported: Predictor, reference: Predictor, images: LabelledImages, max_accuracy_loss: float, progress: Progress
) -> GateFigures:
    """Return the figures of an exported model on `images`, at each batch size. reference: the network in torch.

    Raises BadBundle for a network whose own numbers are not finite, and for a model that cannot run a batch.
    """
    bundle, done = exported.bundle, 0
    gate = Gate(max_accuracy_loss, images.source, {size: TorchComparison() for size in BATCH_SIZES})
    for pixels, labels in images.batches(images.compared, bundle.preprocess, _BATCH):
        expected = probabilities_of(reference, pixels)
        if not np.isfinite(expected).all():
            problem = "the network itself gives numbers that are not finite, so that no export can be compared with it"
            raise BadBundle(str(bundle.path), problem, fix="Train it again with a lower learning rate.")
        for size, comparison in gate.comparisons.items():
            rows = np.concatenate(list(_in_batches(exported, pixels, size)))
            comparison.add(rows, expected, labels)
        done += len(labels)
        progress("comparing with torch", done, len(images.compared))
    return gate.figures()


def _in_batches(predictor: Predictor, pixels: Pixels, size: int) -> Iterator[Probabilities]:
    """Yield the probabilities of batches of `size` images; the last one may be smaller."""
    for start in range(0, len(pixels), size):
        batch = pixels[start : start + size]
        with as_bad_bundle(str(predictor.bundle.path), f"it cannot run a batch of {len(batch)}"):
            rows = probabilities_of(predictor, batch)
        if rows.shape != (len(batch), len(predictor.bundle.classes)):
            problem = f"it gives {rows.shape} numbers for a batch of {len(batch)}"
            raise BadBundle(str(predictor.bundle.path), problem)
        yield rows


def failure(figures: GateFigures, precision: Precision) -> str:
    """Return which limit the figures are beyond, as a sentence without its end; "" where they pass.

    fp32 is the same network, so it must give the same classes and probabilities; other precisions may lose a little
    accuracy.
    """
    problems = []
    if precision == "fp32" and figures.agreement < _AGREEMENT:
        problems.append(f"it agrees with torch on {100 * figures.agreement:.2f} % of the images, not on 99.8 %")
    if precision == "fp32" and figures.probability_difference > _DIFFERENCE:
        problems.append(f"probabilities differ by {figures.probability_difference:.2g}, more than {_DIFFERENCE:g}")
    if figures.accuracy_loss > figures.max_accuracy_loss + _ROUNDING:
        problems.append(f"it loses {figures.accuracy_loss:.4f} of accuracy, more than {figures.max_accuracy_loss:g}")
    return "; ".join(problems)
