"""PaddingWaste: much of the input is a border of one colour, which costs as much to compute as an image."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.timed_steps import timed_steps
from clearsight.profiler.rules.speed_rule import SpeedRule

_MIN_MEASURED = 3  # steps: the median of three ignores one batch of odd images


class PaddingWaste(SpeedRule):
    """Found when more than `share` of the input pixels are a border of one colour, by the median of the steps whose
    images were measured.

    A convolution costs the same for a border as for an image, so the border's share of the pixels is its share of the
    work, and the content of the image is shown that much smaller. Letterboxes, scanned margins and white backgrounds
    all count. SageMaker has no such rule.
    """

    points = _MIN_MEASURED

    share: float = setting(15.0, "border of one colour, of the input pixels", above=0, below=100, unit="%")

    def verdict(self, view: RunView) -> Finding:
        steps = timed_steps(view.profile)
        # The whole table, warm-up included: the images of the first steps are as good as those of any other.
        padding = steps.table.padding
        measured = np.isfinite(padding)
        if missing := steps.shortfall():
            return self.not_enough_data(**missing)
        if measured.sum() < _MIN_MEASURED:
            count = int(measured.sum())
            return self.not_enough_data(have=count, want=_MIN_MEASURED, of="steps whose images were measured")
        numbers, shares = steps.table.steps[measured], 100 * padding[measured]
        value = float(np.median(shares))
        if value <= self.share:
            return self.clear(value=value, threshold=self.share, unit="% of the pixels")
        return self.found(
            value=value,
            threshold=self.share,
            unit="% of the pixels",
            steps=(int(numbers[0]), int(numbers[-1])),
            subject="inputs",
            cause=(
                f"{value:.0f} % of the input pixels are a border of one colour, and take about that share of the "
                f"{1e3 * float(np.median(steps.seconds)):.3g} ms of a step"
            ),
            advice=_advice(view, value / 100),
            evidence=Series.of("border (% of the pixels)", numbers, shares),
        )


def _advice(view: RunView, share: float) -> str:
    """Advise to crop, and name the smaller input size at which the content stays as large. share: in [0, 1]."""
    crop = "Crop the images to their content before training"
    size = view.context.settings.get("image_size")
    # Networks halve the size five times, so sizes are multiples of 32.
    if isinstance(size, int) and (smaller := max(32, 32 * round(size * (1 - share) ** 0.5 / 32))) < size:
        return f"{crop}; with --image-size {smaller} instead of {size} they then show as much detail as now."
    return f"{crop}: at the same input size they then show more detail, or at a smaller one the same."
