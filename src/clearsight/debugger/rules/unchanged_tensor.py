"""UnchangedTensor: weights that the optimizer is to train and does not move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.loss_curve import above_low_rate, loss_progress
from clearsight.debugger.analysis.parameters import columns, select_steps, trained_weights
from clearsight.debugger.analysis.scope import ScopedRule

_ALL = 0.5  # of the trained weights: from here on it is the run that stands still, not a layer
_UPDATES = "updates"


class UnchangedTensor(ScopedRule):
    """Found when no element of a trained weight changed in the last `num_steps` saved steps, though the rate was not 0.

    SageMaker's rule of this name compares saved values with the tolerances of numpy.allclose, and so fires on every
    frozen layer and on every fine-tune at a small learning rate. This one looks at what the optimizer changed, of
    weights of layers that it holds, and by default takes a change of any size for one (`atol`, `rtol` say otherwise).
    Steps below a tenth of the peak learning rate do not count, nor does a run whose loss is low, where all may rest.
    """

    explains = ("HeadNotLearning", "LossNotDecreasing", "UnderfitCapacity", "LearningRateTooLow")
    unused = ("equal_nan",)

    num_steps: int = setting(3, "saved steps in a row", low=1)
    rtol: float = setting(0.0, "a change of at most this times the mean |weight| is none", low=0)
    atol: float = setting(0.0, "a change of at most this is none", low=0)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.num_steps, collections=(_UPDATES, "weights"))

    def check(self, view: RunView) -> Iterator[Finding]:
        steps, names, still = self._still(view)
        if len(steps) < self.num_steps or not names:
            have = min(len(steps), self.num_steps - 1) if not names else len(steps)
            yield self.not_enough_data(have=have, of="saved updates at a full learning rate")
            return
        stuck = [i for i in range(len(names)) if still[-self.num_steps :, i].all()]
        state = loss_progress(view)
        if not stuck or (state is not None and state.low and not self.scoped):
            yield self.clear(value=len(stuck) / len(names), threshold=0)
            return
        yield self._finding(names, [names[i] for i in stuck], steps, np.all(still[:, stuck], axis=1))

    def _still(self, view: RunView) -> tuple[npt.NDArray[np.int64], list[str], npt.NDArray[np.bool_]]:
        """Steps (S,), names L, and whether the tensor rested in the step (S, L)."""
        low, high, zeros = (self.wanted(view, name, _UPDATES) for name in ("min", "max", "zero_fraction"))
        rows = above_low_rate(view, low.steps)
        trained = {f"update/{parameter.name}" for parameter in trained_weights(view.facts)}
        names = [name for name in low.names if self.scoped or not view.facts.parameters or name in trained]
        low, high, zeros = (select_steps(table, rows) for table in (low, high, zeros))
        change = np.maximum(np.abs(columns(low, names)), np.abs(columns(high, names)))
        still = (change == 0) & (columns(zeros, names) >= 1)
        if self.rtol or self.atol:
            weights = view.statistic("abs_mean", "weights")
            size = columns(
                select_steps(weights, np.isin(weights.steps, low.steps)), [n.partition("/")[2] for n in names]
            )
            size = size if len(size) == len(change) else np.zeros_like(change)
            still |= change <= self.atol + self.rtol * np.nan_to_num(size)
        return low.steps, names, still

    def _finding(
        self, names: list[str], stuck: list[str], steps: npt.NDArray[np.int64], still: npt.NDArray[Any]
    ) -> Finding:
        first = 0 if still.all() else len(still) - int(np.argmin(still[::-1]))
        subject = stuck[0].removeprefix("update/")
        others = f" and {len(stuck) - 1} more" if len(stuck) > 1 else ""
        return self.found(
            value=len(stuck) / len(names),
            threshold=0,
            unit="of the trained weights",
            steps=(int(steps[first]), int(steps[-1])),
            subject=subject,
            severity=Severity.SEVERE if len(stuck) > _ALL * len(names) else Severity.WARNING,
            cause=f"{subject}{others} of {len(names)} trained weights did not change from step {steps[first]} on",
            advice="Look at whether the loss depends on it, whether its gradient is 0, and at the learning rate of its "
            "parameter group.",
            evidence=Series.of("share of resting weights", steps, still.astype(float)),
        )
