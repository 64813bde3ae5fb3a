"""The page of a comparison: several runs beside each other, in the shape of a run's own page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clearsight.core.errors import BadValue
from clearsight.core.finding import Finding, Verdict, flags
from clearsight.reports.comparison.curves import curves
from clearsight.reports.comparison.overlay import MOST, spans
from clearsight.reports.comparison.ranking import Ranking, p_value, rank_runs
from clearsight.reports.comparison.run import SPLITS, ComparedRun, differences
from clearsight.reports.kit.document import Document
from clearsight.reports.kit.format import (
    UNKNOWN,
    count,
    duration,
    general,
    percent,
    percent_span,
    score,
    several,
)
from clearsight.reports.kit.section import PageSection, Panel, Table, table

LEAST = 2
_SPLIT_NAMES = {"test": "test", "valid": "validation"}


def compare_page(runs: Sequence[ComparedRun]) -> str:
    """The page of 2 to 12 runs as HTML; the same runs give the same bytes. Raises BadValue for fewer or more."""
    check_number(len(runs))
    judged = rank_runs(runs)
    sections = [verdict(runs, judged), results(runs), curves(runs), findings(runs), sources(runs)]
    return Document(
        title=f"{len(runs)} runs compared", kind="Comparison", sections=[one for one in sections if one is not None]
    ).render()


def check_number(runs: int) -> None:
    """Raise BadValue unless so many runs can stand beside each other."""
    if not LEAST <= runs <= MOST:
        raise BadValue(
            f"{several(runs, 'run')}", f"{LEAST} to {MOST} can be compared", fix="Name the folders of the runs."
        )


def verdict(runs: Sequence[ComparedRun], judged: Ranking) -> PageSection:
    """Which run is best, whether by more than chance, and what makes the comparison lame."""
    panels = [_accuracies(runs, judged.split)] if judged.split else []
    return PageSection(
        key="verdict",
        title="Verdict",
        template="compare_verdict.html",
        values={"sentences": judged.sentences, "warnings": judged.warnings, "contests": _contest_table(judged)},
        panels=tuple(panels),
    )


def results(runs: Sequence[ComparedRun]) -> PageSection:
    """The settings in which the runs differ, and what came of them, a column per run."""
    rows = comparison_rows(runs)
    changed = len(differences(runs))
    about = f"The recipes differ in {several(changed, 'setting')}." if changed else "The recipes are the same."
    columns = ("", *(run.label for run in runs))
    shown = table("Settings that differ, and results", columns, "l" + "r" * len(runs), rows)
    return PageSection(
        key="results",
        title="Recipes and results",
        template="compare_table.html",
        values={"about": about, "table": shown},
    )


def comparison_rows(runs: Sequence[ComparedRun]) -> list[tuple[str, ...]]:
    """A row per setting that differs, then one per result that is known of any run: (name, cell of each run ...)."""
    rows = [(name, *map(_setting, values)) for name, values in differences(runs).items()]
    return [*rows, *(row for row in _result_rows(runs) if set(row[1:]) != {UNKNOWN})]


def findings(runs: Sequence[ComparedRun]) -> PageSection | None:
    """What the rules found in each run; None where no rule was asked of any."""
    if not any(run.facts.findings for run in runs):
        return None
    told = [
        {"label": run.label, "said": _counted(run), "found": [_finding(one) for one in run.problems]} for run in runs
    ]
    return PageSection(key="findings", title="Findings", template="compare_findings.html", values={"runs": told})


def sources(runs: Sequence[ComparedRun]) -> PageSection:
    """Where each run lies, what it was trained on, and by which command."""
    rows = [
        (
            run.label,
            run.path,
            f"{run.facts.data.get('path') or UNKNOWN} ({run.fingerprint[:8] or 'no fingerprint'})",
            " ".join(run.facts.command) or UNKNOWN,
        )
        for run in runs
    ]
    columns = ("run", "folder", "data (fingerprint)", "command")
    shown = table("The runs", columns, "llll", rows)
    return PageSection(key="runs", title="Runs", template="compare_table.html", values={"about": "", "table": shown})


def _accuracies(runs: Sequence[ComparedRun], split: str) -> Panel:
    title = f"Accuracy on the {_SPLIT_NAMES[split]} split"
    known = [(run.label, place, found) for place, run in enumerate(runs) if (found := run.score(split)) is not None]
    rows = [(label, percent(found.accuracy), percent_span(found.interval), found.images) for label, _, found in known]
    return Panel(
        key="accuracies",
        title=title,
        says=f"{title} of {several(len(known), 'run')}, each with its 95% interval.",
        figure=spans([(label, place, found.accuracy, found.interval) for label, place, found in known]),
        table=table(title, ("run", "accuracy", "95% interval", "images"), "lrrr", rows),
        wide=True,
    )


def _contest_table(judged: Ranking) -> Table | None:
    paired = [contest for contest in judged.contests if contest.p is not None]
    if not paired:
        return None
    best = judged.best[0]
    columns = ("against", "images", "only the best right", "only the other right", "p", "more than chance")
    rows = [
        (
            one.against,
            count(one.images),
            count(one.best_alone),
            count(one.other_alone),
            p_value(one.p if one.p is not None else 1.0),
            "yes" if one.beyond else "no",
        )
        for one in paired
    ]
    return table(f"{best} against the others on the same images", columns, "lrrrrl", rows)


def _result_rows(runs: Sequence[ComparedRun]) -> list[tuple[str, ...]]:
    facts = [run.facts for run in runs]
    rows: list[tuple[str, ...]] = []
    for split in SPLITS:
        found = [run.score(split) for run in runs]
        name = _SPLIT_NAMES[split]
        rows += [
            (f"{name} accuracy", *(percent(one.accuracy) if one else UNKNOWN for one in found)),
            (f"{name} 95% interval", *(percent_span(one.interval) if one else UNKNOWN for one in found)),
            (f"{name} macro F1", *(score(one.macro_f1) if one else UNKNOWN for one in found)),
            (f"{name} loss", *(general(one.loss) if one else UNKNOWN for one in found)),
        ]
    return [
        *rows,
        ("epochs", *(count(len(one.epochs)) if one.epochs else UNKNOWN for one in facts)),
        ("epoch kept", *(str(one.best["epoch"]) if one.best else UNKNOWN for one in facts)),
        ("training time", *(duration(one.seconds) if one.seconds else UNKNOWN for one in facts)),
        ("images/s", *(f"{one.images_per_second:,.0f}" if one.images_per_second else UNKNOWN for one in facts)),
        ("parameters", *(count(run.parameters) if run.parameters else UNKNOWN for run in runs)),
        ("status", *(one.status.replace("_", " ") for one in facts)),
    ]


def _counted(run: ComparedRun) -> str:
    if not run.facts.findings:
        return "No rule was asked."
    clear = len({one.rule for one in run.facts.findings if one.verdict is Verdict.CLEAR})
    undecided = len({one.rule for one in run.facts.findings if one.verdict is Verdict.NOT_ENOUGH_DATA})
    found = several(len(run.problems), "problem") if run.problems else "Nothing"
    return f"{found} found; {several(clear, 'rule')} clear, {count(undecided)} without enough data."


def _finding(one: Finding) -> dict[str, str]:
    return {
        "rule": one.rule,
        "severity": one.severity.value,
        "cause": one.cause,
        "fix": flags(one.fix),
        "advice": one.advice,
    }


def _setting(value: Any) -> str:
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return str(value)
