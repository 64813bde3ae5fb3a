"""SimilarAcrossRuns: two runs that were meant to differ are the same."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from pydantic import PrivateAttr, field_validator

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, Ints, RunView

_COLLECTIONS = ("weights", "biases", "gradients", "updates", "activations")


class SimilarAcrossRuns(Rule):
    """Found when this run and another one are (nearly) equal: what was changed between them had no effect.

    Compared are the training losses at the steps that both have, by the median of |a - b| / (|a| + |b|), or with
    `tensor_regex` the L2 norms of the tensors of that name. The other run is handed over by `with_other`, since a rule
    reads no files; `other_trials` keeps where it lies. SageMaker's rule of this name compares sums of squared
    differences of whole tensors; its `collection_names` is accepted without effect.
    """

    severity = Severity.INFO
    unused = ("collection_names",)
    optional = True

    other_trials: str = setting("", "folder of the other run", aliases=("other",))
    tensor_regex: str = setting("", "compare the tensors with such names instead of the loss")
    tolerance: float = setting(1e-4, "median relative difference", above=0, below=1)
    window: int = setting(10, "common points, at the least", low=1, unit="points")

    _other: RunView | None = PrivateAttr(default=None)

    @field_validator("tensor_regex")
    @classmethod
    def _is_a_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"it is not a regular expression ({error})") from None
        return pattern

    def with_other(self, other: RunView) -> SimilarAcrossRuns:
        """The same rule, holding the run to compare with."""
        rule = self.model_copy()
        rule._other = other
        return rule

    def needs(self) -> Needs:
        if self.tensor_regex:
            return Needs(counted="snapshots", points=1, collections=_COLLECTIONS)
        return Needs(points=self.window)

    def check(self, view: RunView) -> Iterator[Finding]:
        if self._other is None:
            where = f" from {self.other_trials}" if self.other_trials else ""
            yield self.not_enough_data(have=0, cause=f"the other run was not given{where}")
            return
        steps, ours, theirs = self._pairs(view, self._other)
        want = 1 if self.tensor_regex else self.window
        if len(ours) < want:
            yield self.not_enough_data(have=len(ours), want=want, of="points that both runs have")
            return
        apart = np.abs(ours - theirs) / np.maximum(np.abs(ours) + np.abs(theirs), 1e-12)
        value, subject = float(np.median(apart)), self.tensor_regex or "loss"
        if value > self.tolerance:
            yield self.clear(value=value, threshold=self.tolerance, unit="relative difference", subject=subject)
            return
        named = f" ({self.other_trials})" if self.other_trials else ""
        yield self.found(
            value=value,
            threshold=self.tolerance,
            unit="relative difference",
            steps=(int(steps.min()), int(steps.max())),
            subject=subject,
            cause=f"at {len(ours)} common points {subject} differs by {value:.1g} from that of the other run{named}",
            advice="Check that what was to differ between the two runs was really set.",
            evidence=(Series.of("this run", steps, ours), Series.of("the other run", steps, theirs)),
        )

    def _pairs(self, one: RunView, two: RunView) -> tuple[Ints, Floats64, Floats64]:
        """Steps and finite values that both runs have, all (S,)."""
        if self.tensor_regex:
            parts = [self._tensors(one, two, collection) for collection in _COLLECTIONS]
            steps, ours, theirs = (np.concatenate(column) for column in zip(*parts, strict=True))
        else:
            ours_, theirs_ = one.scalar("loss"), two.scalar("loss")
            steps, here, there = np.intersect1d(ours_.steps, theirs_.steps, return_indices=True)
            ours, theirs = ours_.values[here], theirs_.values[there]
        fine = np.isfinite(ours) & np.isfinite(theirs)
        return steps[fine], ours[fine], theirs[fine]

    def _tensors(self, one: RunView, two: RunView, collection: str) -> tuple[Ints, Floats64, Floats64]:
        a, b = one.statistic("l2", collection), two.statistic("l2", collection)
        names = [name for name in a.names if name in b.names and re.search(self.tensor_regex, name)]
        steps, here, there = np.intersect1d(a.steps, b.steps, return_indices=True)
        left = np.array([a.names.index(name) for name in names], np.int64)
        right = np.array([b.names.index(name) for name in names], np.int64)
        ours, theirs = a.values[here][:, left], b.values[there][:, right]
        return np.repeat(steps, len(names)), ours.ravel(), theirs.ravel()
