"""Ranking of runs: which one is best, and whether its lead is statistically significant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clearsight.core.format import count, several
from clearsight.reports.comparison.run import SPLITS, ComparedRun, RunScore
from clearsight.reports.kit.format import percent, percent_span
from clearsight.reports.statistics import holm, mcnemar

_UNFINISHED = {
    "running": "is still training",
    "interrupted": "was interrupted",
    "diverged": "diverged",
    "failed": "failed",
}
_NAMED = 3  # runs in one sentence; more are counted
_LEVEL = 0.05  # of the adjusted p-values, to match the intervals of 95 %


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """Comparison of the best run with another one.

    p: McNemar's p-value on the same images, adjusted by Holm for the number of comparisons; None where the images are
    not the same and the intervals decide.  best_only, other_only: images that only this run predicts correctly.
    """

    other: str
    significant: bool
    p: float | None = None
    best_only: int = 0
    other_only: int = 0
    images: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; "pictures" is an older name of "images"."""
        return {
            "against": self.other,
            "beyond": self.significant,
            "p": self.p,
            "best_alone": self.best_only,
            "other_alone": self.other_only,
            "images": self.images,
            "pictures": self.images,
        }


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Result of ranking runs. best: labels of the best runs, several in a tie.  sentences: the result as text.

    split: on which the runs were compared, "" where fewer than two have a score.  warnings: reasons for caution.
    """

    split: str
    best: tuple[str, ...]
    comparisons: tuple[PairedComparison, ...]
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]


def rank_runs(runs: Sequence[ComparedRun]) -> Ranking:
    """Rank runs by accuracy on the test split if at least two have a score there, else on the validation split."""
    split, scores = _split_to_compare(runs)
    warnings = tuple(_warnings(runs, split, scores))
    if not scores:
        text = "Fewer than two of these runs have an accuracy, so they cannot be ranked."
        return Ranking(split="", best=(), comparisons=(), sentences=(text,), warnings=warnings)
    highest = max(score.accuracy for score in scores.values())
    # Exactly equal: on the same number of images a tie is a tie, and any tolerance would be arbitrary.
    best = [run for run in runs if run.label in scores and scores[run.label].accuracy == highest]
    others = [run for run in runs if run.label in scores and run not in best]
    comparisons = _comparisons(best[0], others, split, scores)
    return Ranking(
        split=split,
        best=tuple(run.label for run in best),
        comparisons=comparisons,
        sentences=(_best_sentence(best, scores, split), *_significance_sentences(best, comparisons, split)),
        warnings=warnings,
    )


def p_value_text(value: float) -> str:
    """Return a p-value as "0.031" or "under 0.0001"."""
    return "under 0.0001" if value < 0.0001 else f"{value:.2g}"


def _split_to_compare(runs: Sequence[ComparedRun]) -> tuple[str, dict[str, RunScore]]:
    for split in SPLITS:
        scores = {run.label: score for run in runs if (score := run.score(split)) is not None}
        if len(scores) >= 2:
            return split, scores
    return "", {}


def _comparisons(
    best: ComparedRun, others: Sequence[ComparedRun], split: str, scores: dict[str, RunScore]
) -> tuple[PairedComparison, ...]:
    """Compare the best run with each other one: image by image where both predicted the same images, else by intervals.

    Pairs are far more sensitive: two models can differ significantly although their intervals overlap.
    """
    paired = {run.label: counts for run in others if (counts := _paired_counts(best, run, split)) is not None}
    adjusted = holm([mcnemar(best_only, other_only) for best_only, other_only, _ in paired.values()])
    p_values = dict(zip(paired, adjusted, strict=True))
    comparisons = []
    for label in (run.label for run in others):
        if label in paired:
            (best_only, other_only, images), p = paired[label], p_values[label]
            numbers = {"best_only": best_only, "other_only": other_only, "images": images}
            # p is adjusted: the level holds for all comparisons together.
            comparisons.append(PairedComparison(other=label, significant=p < _LEVEL, p=p, **numbers))
        else:
            first, second = scores[best.label].interval, scores[label].interval
            disjoint = first is not None and second is not None and first.low > second.high
            comparisons.append(PairedComparison(other=label, significant=disjoint))
    return tuple(comparisons)


def _paired_counts(best: ComparedRun, other: ComparedRun, split: str) -> tuple[int, int, int] | None:
    """Return (images only the best run predicts correctly, only the other, all); None for different images."""
    first, second = best.predictions, other.predictions
    # predictions.csv is about the evaluated split, which may be another one than that of the ranking.
    if not first or not second or {best.report.split, other.report.split} != {split} or first.keys() != second.keys():
        return None
    if any(first[name][0] != second[name][0] for name in first):
        return None  # the same images by name, with other classes
    correct = [(true == predicted, true == second[name][1]) for name, (true, predicted) in first.items()]
    return correct.count((True, False)), correct.count((False, True)), len(correct)


def _best_sentence(best: Sequence[ComparedRun], scores: dict[str, RunScore], split: str) -> str:
    names, score = _listed([run.label for run in best]), scores[best[0].label]
    name = SPLITS[split]
    images = f"of {several(score.images, f'{name} image')}" if score.images else f"of the {name} split"
    interval = f" (95% interval {percent_span(score.interval)})" if score.interval is not None else ""
    if len(best) > 1:
        return f"{names} are equally good: each classifies {percent(score.accuracy)} {images} correctly{interval}."
    return f"{names} is best: it classifies {percent(score.accuracy)} {images} correctly{interval}."


def _significance_sentences(
    best: Sequence[ComparedRun], comparisons: Sequence[PairedComparison], split: str
) -> list[str]:
    """Return which leads are significant and which are not, first by the same images, then by intervals."""
    sentences, owner = [], "Its" if len(best) == 1 else "Their"
    # The most certain first: pairs before intervals, significant leads before others.
    for is_paired, significant in ((True, True), (True, False), (False, True), (False, False)):
        chosen = [
            comparison
            for comparison in comparisons
            if (comparison.p is not None) == is_paired and comparison.significant == significant
        ]
        if chosen:
            reason = _paired_reason(chosen, significant) if is_paired else _INTERVAL_REASONS[significant]
            sentences.append(f"{owner} lead over {_others(chosen, comparisons)} {reason}.")
    if split == "valid":
        sentences.append(
            "The validation split also chose the epochs, so every accuracy is slightly optimistic; a test split would "
            "decide better."
        )
    return sentences


_INTERVAL_REASONS = {
    True: "is significant: the 95% intervals do not overlap",
    False: "may be chance: the 95% intervals overlap or are unknown",
}


def _paired_reason(chosen: Sequence[PairedComparison], significant: bool) -> str:
    result = "is significant" if significant else "may be chance"
    values = [comparison.p for comparison in chosen if comparison.p is not None]
    images = f"the same {several(chosen[0].images, 'image')}"
    if len(chosen) == 1:
        best, other = count(chosen[0].best_only), count(chosen[0].other_only)
        counts = f"of {images}, only it classifies {best} correctly, only the other {other}"
        return f"{result}: {counts} (McNemar's test, p {_equals(values[0])})"
    extreme = f"largest p {_equals(max(values))}" if significant else f"smallest p {_equals(min(values))}"
    return f"{result}, measured on {images} (McNemar's test, adjusted by Holm, {extreme})"


def _equals(p: float) -> str:
    text = p_value_text(p)
    return text if text.startswith("under") else f"= {text}"


def _others(chosen: Sequence[PairedComparison], comparisons: Sequence[PairedComparison]) -> str:
    """Return the other runs by name, or as a number where there are many; the table has their names."""
    if len(chosen) <= _NAMED:
        return _listed([comparison.other for comparison in chosen])
    if len(chosen) == len(comparisons):
        return f"each of the {len(comparisons)} other runs"
    return f"{len(chosen)} of the {len(comparisons)} other runs"


def _warnings(runs: Sequence[ComparedRun], split: str, scores: dict[str, RunScore]) -> list[str]:
    warnings = []
    groups: dict[str, list[str]] = {}
    for run in runs:
        groups.setdefault(run.fingerprint, []).append(run.label)
    if len(groups) > 1:
        names = "; ".join(map(_listed, groups.values()))
        warnings.append(
            f"These runs are not on the same data (their fingerprints differ: {names}), so a difference in accuracy "
            "may come from the data."
        )
    warnings += [f"{run.label} {_UNFINISHED[run.report.status]}." for run in runs if run.report.status in _UNFINISHED]
    if split and (missing := [run.label for run in runs if run.label not in scores]):
        reason = f"there is no accuracy on the {SPLITS[split]} split"
        warnings.append(f"{_listed(missing)} cannot be ranked: {reason}.")
    return warnings


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
