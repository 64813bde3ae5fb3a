"""Page of a comparison: several runs side by side, in the order of a run's own page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from clearsight.core.errors import BadValue
from clearsight.core.finding import Verdict
from clearsight.core.format import count, duration, rate, several
from clearsight.reports.comparison.curves import MAX_RUNS, curves, interval_chart
from clearsight.reports.comparison.ranking import Ranking, p_value_text, rank_runs
from clearsight.reports.comparison.run import SPLITS, ComparedRun, differences
from clearsight.reports.kit.document import Page
from clearsight.reports.kit.format import UNKNOWN, general, percent, percent_span, score
from clearsight.reports.kit.section import PageSection, Panel, Table, table, table_section

MIN_RUNS = 2


def check_number(runs: int) -> None:
    """Raise BadValue unless this number of runs can be compared."""
    if not MIN_RUNS <= runs <= MAX_RUNS:
        problem = f"{MIN_RUNS} to {MAX_RUNS} can be compared"
        raise BadValue(several(runs, "run"), problem, fix="Name the folders of the runs.")


def verdict(runs: Sequence[ComparedRun]) -> PageSection:
    """Return which run is best, whether its lead is significant, and reasons for caution."""
    # Ranked here again: it takes milliseconds, and a section is a function of the runs alone.
    ranking = rank_runs(runs)
    return PageSection(
        key="verdict",
        title="Verdict",
        template="comparison/verdict.html",
        values={"ranking": ranking, "comparisons": _comparison_table(ranking)},
        panels=(_accuracies(runs, ranking.split),) if ranking.split else (),
    )


def results(runs: Sequence[ComparedRun]) -> PageSection:
    """Return the settings in which the runs differ and their results, a column per run."""
    changed = len(differences(runs))
    about = f"The recipes differ in {several(changed, 'setting')}." if changed else "The recipes are the same."
    columns = ("", *(run.label for run in runs))
    content = table("Settings that differ, and results", columns, "l" + "r" * len(runs), comparison_rows(runs))
    return table_section("results", "Recipes and results", content, about=about)


def comparison_rows(runs: Sequence[ComparedRun]) -> list[tuple[str, ...]]:
    """Return a row per setting that differs, then one per result that any run has: (name, cell of each run ...)."""
    # Settings first: they are the cause, results the effect.
    rows = [(name, *map(_setting, values)) for name, values in differences(runs).items()]
    return [*rows, *(row for row in _result_rows(runs) if set(row[1:]) != {UNKNOWN})]


def findings(runs: Sequence[ComparedRun]) -> PageSection | None:
    """Return the findings of each run; None when no run has any verdict."""
    if not any(run.report.findings for run in runs):
        return None
    values = [{"label": run.label, "counts": _counts(run), "findings": run.problems} for run in runs]
    return PageSection(key="findings", title="Findings", template="comparison/findings.html", values={"runs": values})


def sources(runs: Sequence[ComparedRun]) -> PageSection:
    """Return the folder, the data and the command of each run."""
    rows = [
        (
            run.label,
            run.path,
            # Eight digits tell apart any data that one person has.
            f"{run.report.data.get('path') or UNKNOWN} ({run.fingerprint[:8] or 'no fingerprint'})",
            " ".join(run.report.command) or UNKNOWN,
        )
        for run in runs
    ]
    columns = ("run", "folder", "data (fingerprint)", "command")
    return table_section("runs", "Runs", table("The runs", columns, "llll", rows))


class ComparisonPage(Page[Sequence[ComparedRun]]):
    """Page of 2 to 12 runs. Raises BadValue for fewer or more."""

    kind = "Comparison"
    # Results before curves: with the verdict they answer most questions.
    SECTIONS = (verdict, results, curves, findings, sources)

    def __init__(self, data: Sequence[ComparedRun]) -> None:
        check_number(len(data))
        super().__init__(data, title=f"{len(data)} runs compared")


def _accuracies(runs: Sequence[ComparedRun], split: str) -> Panel:
    title = f"Accuracy on the {SPLITS[split]} split"
    scores = [(run.label, index, found) for index, run in enumerate(runs) if (found := run.score(split)) is not None]
    rows = [(label, percent(found.accuracy), percent_span(found.interval), found.images) for label, _, found in scores]
    return Panel(
        key="accuracies",
        title=title,
        description=f"{title} of {several(len(scores), 'run')}, each with its 95% interval.",
        figure=interval_chart([(label, index, found.accuracy, found.interval) for label, index, found in scores]),
        table=table(title, ("run", "accuracy", "95% interval", "images"), "lrrr", rows),
        wide=True,
    )


def _comparison_table(ranking: Ranking) -> Table | None:
    columns = ("other run", "images", "only the best correct", "only the other correct", "p", "significant")
    rows = [
        (
            comparison.other,
            count(comparison.images),
            count(comparison.best_only),
            count(comparison.other_only),
            p_value_text(comparison.p),
            "yes" if comparison.significant else "no",
        )
        for comparison in ranking.comparisons
        if comparison.p is not None
    ]
    # Of several runs in a tie the first one is compared.
    return table(f"{ranking.best[0]} and the other runs on the same images", columns, "lrrrrl", rows) if rows else None


def _result_rows(runs: Sequence[ComparedRun]) -> list[tuple[str, ...]]:
    reports = [run.report for run in runs]
    rows: list[tuple[str, ...]] = []
    for split, name in SPLITS.items():
        scores = [run.score(split) for run in runs]
        rows += [
            (f"{name} accuracy", *(percent(found.accuracy) if found else UNKNOWN for found in scores)),
            (f"{name} 95% interval", *(percent_span(found.interval) if found else UNKNOWN for found in scores)),
            (f"{name} macro F1", *(score(found.macro_f1) if found else UNKNOWN for found in scores)),
            (f"{name} loss", *(general(found.loss) if found else UNKNOWN for found in scores)),
        ]
    return [
        *rows,
        ("epochs trained", *(count(len(report.epochs)) if report.epochs else UNKNOWN for report in reports)),
        ("best epoch", *(str(report.best["epoch"]) if report.best else UNKNOWN for report in reports)),
        ("training time", *(duration(report.seconds) if report.seconds else UNKNOWN for report in reports)),
        ("images/s", *(rate(report.images_per_second) if report.images_per_second else UNKNOWN for report in reports)),
        ("parameters", *(count(run.parameters) if run.parameters else UNKNOWN for run in runs)),
        ("status", *(report.status.replace("_", " ") for report in reports)),
    ]


def _counts(run: ComparedRun) -> str:
    if not run.report.findings:
        return "No rule ran."
    # A rule has one verdict for each thing that it looks at; here each rule counts once.
    verdicts = Counter(verdict for _, verdict in {(finding.rule, finding.verdict) for finding in run.report.findings})
    clear, undecided = several(verdicts[Verdict.CLEAR], "rule"), count(verdicts[Verdict.NOT_ENOUGH_DATA])
    problems = several(len(run.problems), "problem") if run.problems else "No problem"
    return f"{problems} found; {clear} clear, {undecided} without enough data."


def _setting(value: Any) -> str:
    if value is None:
        return "default"  # unset: the run resolved it from its network and data
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return str(value)
