"""ImageExplanation: which segments of an image the scores of a model come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clearsight_sagemaker.clarify.analysis_config import ShapConfig
from clearsight_sagemaker.clarify.image_scores import ImageScores
from clearsight_sagemaker.clarify.kernel_shap import coalitions, shapley_values
from clearsight_sagemaker.clarify.segments import segment_image

_SMALLEST_PROBABILITY = 1e-7  # log-odds of 0 and 1 are infinite


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageExplanation:
    """Contributions of the segments of an image to the scores of a model. H, W: size.  K segments, C classes.

    segments: (H, W) numbers of segments.  values: (K, C) contributions, which add up to scores - base_scores.
    scores, base_scores: (C,) of the image and of the baseline.  coalitions: how many images the model was asked about.
    """

    segments: npt.NDArray[np.intp]
    values: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    base_scores: npt.NDArray[np.float64]
    coalitions: int

    @property
    def predicted(self) -> int:
        """Class with the highest score, whose contributions the heat map shows."""
        return int(self.scores.argmax())

    def heat_map(self) -> npt.NDArray[np.float32]:
        """Return the contribution to the predicted class at each pixel, (H, W)."""
        heat: npt.NDArray[np.float32] = self.values[self.segments, self.predicted].astype(np.float32)
        return heat


def explain_image(
    image: npt.NDArray[np.uint8],
    baseline: npt.NDArray[np.uint8],
    scores: ImageScores,
    config: ShapConfig,
    generator: np.random.Generator,
) -> ImageExplanation:
    """Return the explanation of an image. image: (H, W, 3).  baseline: (H, W, 3), shown where a segment is hidden.

    generator: draws the coalitions. Raises JobFailed where the model gives no scores.
    """
    segments = segment_image(image, config.segments, config.compactness)
    count = int(segments.max()) + 1
    masks, weights = (
        coalitions(count, config.samples, generator) if count > 1 else (np.zeros((0, 1), dtype=np.bool_), np.zeros(0))
    )

    def images() -> Iterator[npt.NDArray[np.uint8]]:
        yield image
        yield baseline
        for mask in masks:
            yield np.where(mask[segments][..., None], image, baseline)

    found = scores.of(images())
    if config.logit:
        found = np.clip(found, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
        found = np.log(found / (1 - found))
    values = shapley_values(masks, weights, found[2:], found[1], found[0])
    return ImageExplanation(
        segments=segments, values=values, scores=found[0], base_scores=found[1], coalitions=len(masks)
    )


def noise_like(image: npt.NDArray[np.uint8], generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return white noise of the size of an image."""
    return generator.integers(0, 256, image.shape, dtype=np.uint8)
