"""ComparedRun: what the page of a comparison shows of one run, as plain values. The workflow gathers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearsight.core.finding import Finding
from clearsight.core.statistics import Interval
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.statistics import share_interval

# The test split comes first: the validation split chose the epoch, which flatters a run.
SPLITS = {"test": "test", "valid": "validation"}  # split -> its name in sentences


@dataclass(frozen=True, kw_only=True)
class RunScore:
    """Accuracy in [0, 1] on `images` images, with its 95 % interval; None for an unknown value."""

    accuracy: float
    images: int
    interval: Interval | None
    macro_f1: float | None = None
    loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One of several runs. label: unlike that of any other.  path: of its folder.  parameters: of its network.

    predictions: of the evaluated images, image -> (true class, predicted class).
    """

    label: str
    path: str
    report: RunReportData
    parameters: int | None = None
    predictions: Mapping[str, tuple[str, str]] | None = None

    @property
    def fingerprint(self) -> str:
        """Fingerprint of its data; "" when it is unknown."""
        return str(self.report.data.get("fingerprint") or "")

    @property
    def problems(self) -> list[Finding]:
        """Root causes, one of each rule, in the order in which they should be read."""
        first: dict[str, Finding] = {}
        for finding in self.report.findings:
            # A consequence has the group of another rule; it goes away with its cause.
            if finding.found and finding.group in ("", finding.rule):
                first.setdefault(finding.rule, finding)
        return list(first.values())

    def score(self, split: str) -> RunScore | None:
        """Return its score on a split: as evaluated, or on the validation split that of the best epoch."""
        evaluation = self.report.evaluation
        if evaluation is not None and self.report.split == split:
            return _score(evaluation, evaluation["n"])
        best = self.report.best
        if split != "valid" or best is None or "accuracy" not in best["valid"]:
            return None
        return _score(best["valid"], self.report.images("valid"))


def differences(runs: Sequence[ComparedRun]) -> dict[str, list[Any]]:
    """Return the settings in which the runs differ, in the order of the recipe: name -> value in each run.

    The value is None where a run leaves the setting unset. Of an external loop few settings are known: beside one, only
    those that are known of all runs count.
    """
    settings = [run.report.settings for run in runs]
    names = list(dict.fromkeys(name for recipe in settings for name in recipe))
    if any(run.report.external for run in runs):
        names = [name for name in names if all(name in recipe for recipe in settings)]
    columns = {name: [recipe.get(name) for recipe in settings] for name in names}
    return {name: values for name, values in columns.items() if any(value != values[0] for value in values)}


def _score(scores: Mapping[str, Any], images: int) -> RunScore:
    share = scores["accuracy"]
    return RunScore(
        accuracy=share,
        images=images,
        interval=share_interval(share, images) if images else None,
        macro_f1=scores.get("macro_f1"),
        loss=scores.get("loss"),
    )
