"""ComparedRun: what the page of a comparison says of one run, as plain values; whoever wires gathers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearsight.core.finding import Finding
from clearsight.core.statistics import Interval, wilson
from clearsight.reports.run.report_data import RunReportData

SPLITS = ("test", "valid")  # what tells most comes first: the validation split chose the epoch


@dataclass(frozen=True, kw_only=True)
class RunScore:
    """An accuracy in [0, 1] on `images` images, with its 95 % interval; None for what is not known."""

    accuracy: float
    images: int
    interval: Interval | None
    macro_f1: float | None = None
    loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One run among others.

    label: its name, unlike that of any other.  path: where it lies.  parameters: of the network, all together.
    answers: of the evaluated images, image -> (its class, the class it was taken for).
    """

    label: str
    path: str
    facts: RunReportData
    parameters: int | None = None
    answers: Mapping[str, tuple[str, str]] | None = None

    @property
    def fingerprint(self) -> str:
        """That of its data; "" where nobody knows."""
        return str(self.facts.data.get("fingerprint") or "")

    @property
    def problems(self) -> list[Finding]:
        """What was found, root causes alone, one of each rule, in the order in which they should be read."""
        first: dict[str, Finding] = {}
        for finding in self.facts.findings:
            if finding.found and finding.group in ("", finding.rule):
                first.setdefault(finding.rule, finding)
        return list(first.values())

    def score(self, split: str) -> RunScore | None:
        """How good it is on a split: as evaluated, or for the validation split in the epoch that was kept."""
        found = self.facts.evaluation
        if found is not None and self.facts.split == split:
            return _score(found, found["n"])
        best = self.facts.best
        if split != "valid" or best is None or "accuracy" not in best["valid"]:
            return None
        return _score(best["valid"], self.facts.images("valid"))


def differences(runs: Sequence[ComparedRun]) -> dict[str, list[Any]]:
    """Recipe fields in which the runs differ, in the recipe's order: name -> value in each run, None where unset."""
    settings = [run.facts.settings for run in runs]
    names = dict.fromkeys(name for one in settings for name in one)
    columns = {name: [one.get(name) for one in settings] for name in names}
    return {name: values for name, values in columns.items() if any(value != values[0] for value in values)}


def _score(found: Mapping[str, Any], images: int) -> RunScore:
    share = found["accuracy"]
    interval = wilson(min(share * images, images), images) if images else None
    return RunScore(
        accuracy=share,
        images=images,
        interval=interval,
        macro_f1=found.get("macro_f1"),
        loss=found.get("loss"),
    )
