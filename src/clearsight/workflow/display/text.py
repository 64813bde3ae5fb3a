"""Results as lines of text: an audit, an evaluation, findings, a breakdown of the time, a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clearsight.core.bundle import calibration_text
from clearsight.core.finding import Finding, Severity, Verdict, findings_lines, flags
from clearsight.core.format import speed
from clearsight.core.label_check import LEAST_IMAGES
from clearsight.core.safe_text import StyledLine, printable_line

if TYPE_CHECKING:  # they load plotly, or read runs
    from clearsight.workflow.speed.breakdown import Breakdown

_MAX_CLASSES = 40  # rows of the table; the JSON has all classes
_MAX_CORRUPT = 10  # files with their reason
_HEAD = ("rule", "verdict", "severity", "value", "steps", "subject")
_COLOURS = {Severity.SEVERE: "\033[31m", Severity.WARNING: "\033[33m", Severity.INFO: "\033[36m"}
_PLAIN = "\033[0m"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Return the lines of a table, the head first. right: the columns that are aligned to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            f"{cell:>{width}}" if column in right else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(aligned).rstrip()

    return [line(head), *map(line, rows)]


def audit_lines(result: dict[str, Any], *, classes: int = _MAX_CLASSES) -> list[str]:
    """Return an audit for people: the table of counts, then the problems.

    result: docs/json.md describes it.  classes: rows of the table at most.
    """
    names, splits = result["classes"], result["splits"]
    width = max([len(name) for name in names] + [5])
    head = f"{'class':<{width}}" + "".join(f"{split:>9}" for split in splits)
    rows = [f"{name:<{width}}" + "".join(f"{splits[split].get(name, 0):>9,}" for split in splits) for name in names]
    if len(rows) > classes:
        rows = [*rows[:classes], f"... and {len(rows) - classes} more classes"]
    if any("" in counts for counts in splits.values()):  # images without a label
        rows.append(f"{'(none)':<{width}}" + "".join(f"{counts.get('', 0):>9,}" for counts in splits.values()))
    total = f"{'total':<{width}}" + "".join(f"{sum(counts.values()):>9,}" for counts in splits.values())
    lines = [head, *rows, total, ""]
    if result["imbalance"] is not None:
        lines.append(f"imbalance {result['imbalance']:.1f} : 1")
    kinds = ("corrupt", "duplicates", "near_duplicates", "flipped", "leaks", "small", "rotated")
    lines += [f"{kind.replace('_', '-'):<16}{len(result[kind]):,}" for kind in kinds]
    lines += [f"  {image['path']}: {image['reason']}" for image in result["corrupt"][:_MAX_CORRUPT]]
    if "label_errors" in result:
        lines += _label_check_lines(result)
    lines += [f"warning  {warning['text']}" for warning in result["warnings"]]
    return lines


def _label_check_lines(result: dict[str, Any], shown: int = 10) -> list[str]:
    """Return the lines of a check for people. result: that of an audit with `label_errors`."""
    check = result["label_errors"]
    lines = [
        f"labels   {check['contradicted']} of the {check['surest']:,} images that the features of {check['model']} are "
        f"surest of have another label ({check['share']:.0%}, limit {check['limit']:.0%}; {check['images']:,} judged)"
    ]
    if check["noisy"] is None:
        lines.append(f"  too few images for a verdict on all labels, which needs {LEAST_IMAGES}")
    if check["suspects"]:
        lines.append(f"  {len(check['suspects']):,} labels look wrong; the most likely ones (given -> likely):")
    lines += [f"  {item['path']}: {item['given']} -> {item['likely']}" for item in check["suspects"][:shown]]
    if similar := result["similar"]:
        lines.append(f"similar  {len(similar):,} images of a later split resemble a training image; look at them:")
        lines += [f"  {pair['paths'][1]} like {pair['paths'][0]}" for pair in similar[:shown]]
    return lines


def evaluation_lines(result: dict[str, Any]) -> list[str]:
    """Return an evaluation for people. result: docs/json.md describes it."""
    low, high = result["accuracy_interval"]
    lines = [
        f"{result['n']:,} images of the {result['split']} split",
        f"accuracy {result['accuracy']:.4f}  (95 % interval {low:.3f} to {high:.3f})",
        f"top-5    {result['top5']:.4f}   macro F1 {result['macro_f1']:.4f}   ECE {result['ece']:.4f}"
        + (f"   ROC-AUC {result['roc_auc']:.4f}" if result["roc_auc"] is not None else ""),
        f"loss     {result['loss_served']:.4f} as served, {result['loss']:.4f} without calibration"
        f" (ECE {result['ece_uncalibrated']:.4f})",
        f"served   {calibration_text(result['temperature'], result['calibration'] or {})}",
        "",
    ]
    width = max([len(name) for name in result["per_class"]] + [5])
    lines.append(f"{'class':<{width}} precision  recall      f1  support")
    for name, row in result["per_class"].items():
        scores = f"{row['precision']:>9.3f}{row['recall']:>8.3f}{row['f1']:>8.3f}{row['support']:>9,}"
        lines.append(f"{name:<{width}} {scores}")
    if result["mistakes"]:
        lines += ["", "most confident mistakes"]
        for mistake in result["mistakes"][:5]:
            predicted = f"{mistake['predicted']} ({mistake['probability']:.2f})"
            lines.append(f"  {mistake['path']}: predicted {predicted}, true {mistake['true']}")
    return lines


def diagnosis_lines(findings: Sequence[Finding], *, everything: bool = False, colour: bool = False) -> list[str]:
    """Return findings for people: a table with cause and fix below each row, and a line of counts."""
    shown = [finding for finding in findings if finding.found or everything]
    lines: list[str] = []
    if shown:
        head, *rows = table(_HEAD, [_row(finding) for finding in shown])
        lines.append(head)
        for finding, row in zip(shown, rows, strict=True):
            coloured = f"{_COLOURS[finding.severity]}{printable_line(row)}{_PLAIN}"
            lines.append(StyledLine(coloured) if colour and finding.found else row)
            texts = {"cause": finding.cause, "fix": flags(finding.fix), "advice": finding.advice}
            lines += [f"    {label:<6}  {text}" for label, text in texts.items() if text]
        lines.append("")
    return [*lines, _counts(findings)]


def _row(finding: Finding) -> tuple[str, ...]:
    value = "" if finding.value is None else f"{finding.value:.4g} {finding.unit}".rstrip()
    if value and finding.threshold is not None:
        value = f"{value} (limit {finding.threshold:.4g})"
    steps = "" if finding.steps is None else f"{finding.steps[0]}-{finding.steps[1]}"
    rule = finding.rule if finding.group in ("", finding.rule) else f"  {finding.rule}"  # below its root cause
    severity = finding.severity.value if finding.found else ""
    return (rule, finding.verdict.value.replace("-", " "), severity, value, steps, finding.subject)


def _counts(findings: Sequence[Finding]) -> str:
    number = Counter(finding.verdict for finding in findings)
    parts = [f"{number[verdict]} {verdict.value.replace('-', ' ')}" for verdict in Verdict if number[verdict]]
    return f"verdicts {', '.join(parts) or 'none: no rule was selected'}"


def breakdown_lines(breakdown: Breakdown) -> list[str]:
    """Return a breakdown for people: steps and their phases, the machine, the findings."""
    steps, phases = breakdown.steps(), breakdown.phases()
    lines = ["steps    none were measured, only the machine"]
    if steps["count"]:
        lines = [
            f"steps    {steps['count']:,.0f}, half of them within {1000 * steps['p50']:.1f} ms, 95 % within "
            f"{1000 * steps['p95']:.1f} ms; {speed(steps['images_per_second'])}"
        ]
    if phases:
        rows = [
            [name, *(f"{1000 * phase[key]:.1f}" for key in ("mean", "p50", "p95")), f"{100 * phase['share']:.1f} %"]
            for name, phase in phases.items()
        ]
        lines += ["", *table(("phase", "mean ms", "p50", "p95", "share"), rows, right=(1, 2, 3, 4))]
    rows = [
        [name, *(_reading(name, value) for value in row.values())]
        for name, row in breakdown.gauges().items()
        if not (name.startswith("cpu") and name[3:].isdigit())  # single cores are in the JSON and in the report
    ]
    if rows:
        lines += ["", *table(("machine", "min", "p50", "p95", "p99", "max"), rows, right=range(1, 6))]
    return [*lines, "", *findings_lines(breakdown.findings)]


def _reading(gauge: str, value: float) -> str:
    """Return a value for people: bytes as MB, others as they are. Clocks are large numbers too, in MHz."""
    return f"{value / 1e6:,.1f} MB" if abs(value) >= 1e5 and not gauge.endswith("clock") else f"{value:,.4g}"
