"""SimilarAcrossRuns: two runs that should differ are equal."""

from __future__ import annotations

import re

import numpy as np
from pydantic import PrivateAttr

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, Ints, RunView
from clearsight.debugger.analysis.tensors import Pattern, columns

_COLLECTIONS = ("weights", "biases", "gradients", "updates", "activations")


class SimilarAcrossRuns(Rule):
    """Found when this run and another one are (nearly) equal: the change between them had no effect.

    The rule compares the training losses at the steps that both have, by the median of |a - b| / (|a| + |b|), or with
    `tensor_regex` the L2 norms of the tensors of that name. `with_other` passes the other run, since a rule reads no
    files; `other_trials` stores its folder. SageMaker's rule of this name compares sums of squared differences of whole
    tensors; its `collection_names` is accepted without effect.
    """

    severity = Severity.INFO
    unused = ("collection_names",)
    optional = True

    other_trials: str = setting("", "folder of the other run", aliases=("other",))
    tensor_regex: Pattern = setting("", "regular expression: compare the tensors with such names instead of the loss")
    tolerance: float = setting(1e-4, "median relative difference", above=0, below=1)
    window: int = setting(10, "points that both runs must have", low=1, unit="points")

    _other: RunView | None = PrivateAttr(default=None)

    def with_other(self, other: RunView) -> SimilarAcrossRuns:
        """Return the same rule, with the run to compare with."""
        rule = self.model_copy()
        rule._other = other
        return rule

    def needs(self) -> Needs:
        if self.tensor_regex:
            return Needs(counted="snapshots", points=1, collections=_COLLECTIONS)
        return Needs(points=self.window)

    def check(self, view: RunView) -> list[Finding]:
        if self._other is None:
            source = f": {self.other_trials}" if self.other_trials else ""
            return [self.not_enough_data(have=0, cause=f"the other run is missing{source}")]
        steps, left_values, right_values = self._pairs(view, self._other)
        needed = 1 if self.tensor_regex else self.window
        if len(left_values) < needed:
            return [self.not_enough_data(have=len(left_values), want=needed, of="points that both runs have")]
        # Symmetric and within [0, 1], whichever run is the reference.
        differences = np.abs(left_values - right_values) / np.maximum(np.abs(left_values) + np.abs(right_values), 1e-12)
        value, subject = float(np.median(differences)), self.tensor_regex or "loss"
        if value > self.tolerance:
            return [self.clear(value=value, threshold=self.tolerance, unit="relative difference", subject=subject)]
        folder = f" ({self.other_trials})" if self.other_trials else ""
        finding = self.found(
            value=value,
            threshold=self.tolerance,
            unit="relative difference",
            steps=(int(steps.min()), int(steps.max())),
            subject=subject,
            cause=f"at {len(left_values)} common points {subject} differs by {value:.1g} from the other run{folder}",
            advice="Check that the setting that should differ between the two runs took effect.",
            evidence=(Series.of("this run", steps, left_values), Series.of("the other run", steps, right_values)),
        )
        return [finding]

    def _pairs(self, view: RunView, other: RunView) -> tuple[Ints, Floats64, Floats64]:
        """Return steps and finite values that both runs have, all (S,)."""
        if self.tensor_regex:
            parts = [self._tensors(view, other, collection) for collection in _COLLECTIONS]
            steps, left_values, right_values = (np.concatenate(column) for column in zip(*parts, strict=True))
        else:
            left_curve, right_curve = view.scalar("loss"), other.scalar("loss")
            steps, left_rows, right_rows = np.intersect1d(left_curve.steps, right_curve.steps, return_indices=True)
            left_values, right_values = left_curve.values[left_rows], right_curve.values[right_rows]
        finite = np.isfinite(left_values) & np.isfinite(right_values)
        return steps[finite], left_values[finite], right_values[finite]

    def _tensors(self, view: RunView, other: RunView, collection: str) -> tuple[Ints, Floats64, Floats64]:
        """Return steps and norms of the matching tensors of a collection, all (S,)."""
        left_table, right_table = view.statistic("l2", collection), other.statistic("l2", collection)
        names = [name for name in left_table.names if name in right_table.names and re.search(self.tensor_regex, name)]
        steps, left_rows, right_rows = np.intersect1d(left_table.steps, right_table.steps, return_indices=True)
        left_values, right_values = columns(left_table, names)[left_rows], columns(right_table, names)[right_rows]
        return np.repeat(steps, len(names)), left_values.ravel(), right_values.ravel()
