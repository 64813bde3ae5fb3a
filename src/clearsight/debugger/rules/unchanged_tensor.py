"""UnchangedTensor: weights that the optimizer should train and does not change."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs
from clearsight.core.settings import setting
from clearsight.core.view import Ints, RunView
from clearsight.debugger.analysis.learning_rates import above_low_rate
from clearsight.debugger.analysis.loss_curve import loss_progress
from clearsight.debugger.analysis.tensors import ScopedRule, columns, select_steps, trailing, trained_weights

_MOST_WEIGHTS = 0.5  # of the trained weights: from here on the whole run stands still, not a layer
_UPDATES = "updates"


class UnchangedTensor(ScopedRule):
    """Found when a trained weight did not change in the last `num_steps` saved steps, at a working learning rate.

    SageMaker's rule of this name compares saved values with the tolerances of numpy.allclose, and so fires on every
    frozen layer and on every fine-tuning at a small learning rate. This one judges what the optimizer changed, of
    weights of layers that it holds, and by default counts a change of any size (`atol` and `rtol` set a tolerance).
    Steps below a tenth of the peak learning rate do not count, nor does a run whose loss is low, where weights may
    rest.
    """

    explains = ("NotLearning", "LossNotDecreasing", "UnderfitCapacity", "LearningRateTooLow")
    unused = ("equal_nan",)

    num_steps: int = setting(3, "saved steps in a row", low=1)
    rtol: float = setting(0.0, "largest change, over the mean |weight|, that counts as none", low=0)
    atol: float = setting(0.0, "largest change that counts as none", low=0)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.num_steps, collections=(_UPDATES, "weights"))

    def check(self, view: RunView) -> list[Finding]:
        steps, names, unchanged = self._unchanged(view)
        if len(steps) < self.num_steps or not names:
            saved = min(len(steps), self.num_steps - 1) if not names else len(steps)
            return [self.not_enough_data(have=saved, of="saved updates at a full learning rate")]
        stuck = [i for i in range(len(names)) if unchanged[-self.num_steps :, i].all()]
        progress = loss_progress(view)
        if not stuck or (progress is not None and progress.low and not self.scoped):
            return [self.clear(value=len(stuck) / len(names), threshold=0)]
        still = np.all(unchanged[:, stuck], axis=1)
        first = len(still) - trailing(still)
        subject = names[stuck[0]].removeprefix("update/")
        others = f" and {len(stuck) - 1} more" if len(stuck) > 1 else ""
        finding = self.found(
            value=len(stuck) / len(names),
            threshold=0,
            unit="of the trained weights",
            steps=(steps[first], steps[-1]),
            subject=subject,
            severity=Severity.SEVERE if len(stuck) > _MOST_WEIGHTS * len(names) else Severity.WARNING,
            cause=f"{subject}{others} of {len(names)} trained weights did not change since step {steps[first]}",
            advice="Check whether the loss depends on it, whether its gradient is 0, and the learning rate of its "
            "parameter group.",
            evidence=Series.of("share of unchanged weights", steps, still),
        )
        return [finding]

    def _unchanged(self, view: RunView) -> tuple[Ints, list[str], npt.NDArray[np.bool_]]:
        """Return steps (S,), names of L tensors, and a mask (S, L) of the tensors that did not change in a step."""
        low, high, zeros = (self.scoped_statistic(view, name, _UPDATES) for name in ("min", "max", "zero_fraction"))
        rows = above_low_rate(view, low.steps)
        trained = {f"update/{parameter.name}" for parameter in trained_weights(view.context)}
        names = [name for name in low.names if self.scoped or not view.context.parameters or name in trained]
        low, high, zeros = (select_steps(table, rows) for table in (low, high, zeros))
        largest_change = np.maximum(np.abs(columns(low, names)), np.abs(columns(high, names)))
        unchanged = (largest_change == 0) & (columns(zeros, names) >= 1)
        if self.rtol or self.atol:
            weights = view.statistic("abs_mean", "weights")
            size = columns(
                select_steps(weights, np.isin(weights.steps, low.steps)), [name.partition("/")[2] for name in names]
            )
            # Without weights at the same steps only `atol` counts.
            size = size if len(size) == len(largest_change) else np.zeros_like(largest_change)
            unchanged |= largest_change <= self.atol + self.rtol * np.nan_to_num(size)
        return low.steps, names, unchanged
