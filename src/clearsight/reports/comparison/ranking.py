"""Standing: which of several runs is best, and whether it is by more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clearsight.reports.comparison.run import SPLITS, ComparedRun, RunScore
from clearsight.reports.kit.format import percent, percent_span, several
from clearsight.reports.statistics import holm, mcnemar

_UNFINISHED = {
    "running": "is still in training",
    "interrupted": "was interrupted",
    "diverged": "diverged",
    "failed": "failed",
}
_NAMED = 3  # runs in one sentence
_LEVEL = 0.05  # of the adjusted p-values, as the intervals are of 95 %


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """The best run against another one.

    p: McNemar's on the same images, adjusted by Holm for the number of contests; None where the images are not the
    same, and the intervals decide.  best_alone, other_alone: images that only the one or the other got right.
    beyond: whether the difference is more than chance.
    """

    against: str
    beyond: bool
    p: float | None = None
    best_alone: int = 0
    other_alone: int = 0
    images: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """split: what the runs were measured on, "" where fewer than two were.  best: labels of the best, several in a tie.

    sentences: the same in words.  warnings: what makes the comparison lame.
    """

    split: str
    best: tuple[str, ...]
    contests: tuple[PairedComparison, ...]
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]


def rank_runs(runs: Sequence[ComparedRun]) -> Ranking:
    """Judge runs by accuracy on the test split where at least two were measured on it, else on the validation split."""
    split, scores = _judged(runs)
    warnings = tuple(_warnings(runs, split, scores))
    if not scores:
        said = "Fewer than two of these runs have an accuracy, so that none can be called the best."
        return Ranking(split="", best=(), contests=(), sentences=(said,), warnings=warnings)
    highest = max(score.accuracy for score in scores.values())
    best = [run for run in runs if run.label in scores and scores[run.label].accuracy == highest]
    others = [run for run in runs if run.label in scores and run not in best]
    contests = _contests(best[0], others, split, scores)
    sentences = (_who(best, scores, split), *_how_sure(best, contests, split))
    return Ranking(
        split=split, best=tuple(run.label for run in best), contests=contests, sentences=sentences, warnings=warnings
    )


def _judged(runs: Sequence[ComparedRun]) -> tuple[str, dict[str, RunScore]]:
    for split in SPLITS:
        scores = {run.label: score for run in runs if (score := run.score(split)) is not None}
        if len(scores) >= 2:
            return split, scores
    return "", {}


def _contests(
    best: ComparedRun, others: Sequence[ComparedRun], split: str, scores: dict[str, RunScore]
) -> tuple[PairedComparison, ...]:
    """Paired where both answered for the same images, by intervals otherwise."""
    paired = [(other, counted) for other in others if (counted := _paired(best, other, split)) is not None]
    adjusted = holm([mcnemar(alone, other_alone) for _, (alone, other_alone, _) in paired])
    found = {
        other.label: PairedComparison(
            against=other.label,
            beyond=p < _LEVEL,
            p=p,
            best_alone=best_alone,
            other_alone=other_alone,
            images=images,
        )
        for (other, (best_alone, other_alone, images)), p in zip(paired, adjusted, strict=True)
    }
    return tuple(
        found.get(run.label) or _by_intervals(run.label, scores[best.label], scores[run.label]) for run in others
    )


def _paired(best: ComparedRun, other: ComparedRun, split: str) -> tuple[int, int, int] | None:
    """(only the best right, only the other right, images), where both were asked about the same images."""
    mine, theirs = best.answers, other.answers
    if not mine or not theirs or {best.facts.split, other.facts.split} != {split} or mine.keys() != theirs.keys():
        return None
    if any(mine[name][0] != theirs[name][0] for name in mine):
        return None  # the same images by name, with other classes
    right = [(true == said, true == theirs[name][1]) for name, (true, said) in mine.items()]
    return right.count((True, False)), right.count((False, True)), len(right)


def _by_intervals(label: str, best: RunScore, other: RunScore) -> PairedComparison:
    apart = best.interval is not None and other.interval is not None and best.interval.low > other.interval.high
    return PairedComparison(against=label, beyond=apart)


def _who(best: Sequence[ComparedRun], scores: dict[str, RunScore], split: str) -> str:
    named, score = _listed([run.label for run in best]), scores[best[0].label]
    name = {"test": "test", "valid": "validation"}[split]
    of = f" of {several(score.images, f'{name} image')}" if score.images else f" on the {name} split"
    span = f" (95% interval {percent_span(score.interval)})" if score.interval is not None else ""
    if len(best) > 1:
        return f"{named} are equally good: each gets {percent(score.accuracy)}{of} right{span}."
    return f"{named} is best: it gets {percent(score.accuracy)}{of} right{span}."


def _how_sure(best: Sequence[ComparedRun], contests: Sequence[PairedComparison], split: str) -> list[str]:
    """What is more than chance, and what is not: first by the same images, then by intervals."""
    told, whose = [], "Its" if len(best) == 1 else "Their"
    for by_images, beyond in ((True, True), (True, False), (False, True), (False, False)):
        chosen = [one for one in contests if (one.p is not None) == by_images and one.beyond == beyond]
        if chosen:
            why = _by_images(chosen, beyond) if by_images else _BY_INTERVALS[beyond]
            told.append(f"{whose} lead over {_others(chosen, contests)} {why}.")
    if split == "valid":
        told.append("The validation split chose the epochs, which flatters every run; a test split would tell more.")
    return told


_BY_INTERVALS = {
    True: "is beyond the 95% intervals, which do not overlap",
    False: "may be chance: the 95% intervals overlap or are not known",
}


def _by_images(chosen: Sequence[PairedComparison], beyond: bool) -> str:
    word = "is more than chance" if beyond else "may well be chance"
    values = [contest.p for contest in chosen if contest.p is not None]
    same = f"the same {several(chosen[0].images, 'image')}"
    if len(chosen) == 1:
        counted = f"of {same} it alone has {chosen[0].best_alone:,} right, the other alone {chosen[0].other_alone:,}"
        return f"{word}: {counted} (McNemar's p: {p_value(values[0])})"
    edge = f"the largest {p_value(max(values))}" if beyond else f"the smallest {p_value(min(values))}"
    return f"{word}, judged on {same} (McNemar's p, adjusted by Holm: {edge})"


def _others(chosen: Sequence[PairedComparison], contests: Sequence[PairedComparison]) -> str:
    """By name where that can be read, else by number; the table has the names."""
    if len(chosen) <= _NAMED:
        return _listed([contest.against for contest in chosen])
    if len(chosen) == len(contests):
        return f"each of the {len(contests)} other runs"
    return f"{len(chosen)} of the {len(contests)} other runs"


def _warnings(runs: Sequence[ComparedRun], split: str, scores: dict[str, RunScore]) -> list[str]:
    told = []
    if len({run.fingerprint for run in runs}) > 1:
        groups: dict[str, list[str]] = {}
        for run in runs:
            groups.setdefault(run.fingerprint, []).append(run.label)
        named = "; ".join(_listed(labels) for labels in groups.values())
        told.append(
            f"These runs are not on the same data (their fingerprints differ: {named}), so that a difference "
            "may be one of the data."
        )
    told += [f"{run.label} {_UNFINISHED[run.facts.status]}." for run in runs if run.facts.status in _UNFINISHED]
    if split and (missing := [run.label for run in runs if run.label not in scores]):
        named = "test" if split == "test" else "validation"
        told.append(f"{_listed(missing)} cannot be ranked: there is no accuracy on the {named} split.")
    return told


def p_value(value: float) -> str:
    """A p-value in words: "0.031", or "under 0.0001"."""
    return "under 0.0001" if value < 0.0001 else f"{value:.2g}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
