"""A run in words: the plan, an epoch, the end. The terminal and log.txt say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearsight.core.events import EpochRecord, RunPlan, RunStatus
from clearsight.core.files import read_json
from clearsight.core.finding import finding_lines, flags, read_findings, verdict_counts
from clearsight.core.judge import root_findings
from clearsight.core.run import Run

__all__ = ["end_lines", "epoch_line", "finding_lines", "next_commands", "plan_lines"]


def plan_lines(plan: RunPlan) -> list[str]:
    """The plan, one fact a line."""
    images = ", ".join(f"{count:,} {split}" for split, count in plan.images.items())
    share = f"{plan.trainable:,} of {plan.parameters:,} parameters train"
    kept = f", features of the frozen part computed once ({plan.cached})" if plan.cached else ""
    about = f", about {_duration(plan.seconds)}" if plan.seconds >= 1 else ""
    return [
        f"data     {images}; {plan.classes} classes, largest to smallest {plan.imbalance:.1f} : 1",
        f"model    {plan.model}, {share}{kept}",
        f"weights  {plan.weights}",
        f"input    {plan.preprocess}",
        f"device   {plan.device}, {plan.precision}, {plan.workers} reader thread{'s' if plan.workers != 1 else ''}",
        f"work     {plan.epochs} epochs, {plan.steps:,} steps of {plan.batch_size}, learning rate {plan.lr:g}{about}",
        *(f"note     {note}" for note in plan.notes),
        *(f"debug    {line}" for line in plan.saved),
        *([f"profile  {plan.measured}"] if plan.measured else []),
    ]


def epoch_line(record: EpochRecord) -> str:
    """One finished epoch."""
    width = len(str(record.epochs))
    parts = [f"epoch {record.epoch:>{width}}/{record.epochs}", f"train {_scores(record.train)}"]
    if record.valid:
        parts.append(f"valid {_scores(record.valid)}")
    parts.append(f"{record.images_per_second:,.0f} images/s")
    parts.append(f"data wait {100 * record.data_share:.0f} %")
    return "  ".join(parts) + ("  best" if record.best and record.valid else "")


def end_lines(run: Run) -> list[str]:
    """How a run ended, its scores, and the commands to type next."""
    after = f" ({run.reason})" if run.reason else ""
    lines = [f"{run.status.value.replace('_', ' ')}{after} after {_duration(run.seconds)}"]
    for split in ("valid", "test"):
        if scores := run.scores.get(split):
            best = f", epoch {run.best_epoch}" if split == "valid" else ""
            lines.append(f"{split:<8} {_scores(scores)}{_extra(scores)}{best}")
    return [*lines, *_repair_lines(run), *_finding_lines(run), *next_commands(run)]


def _finding_lines(run: Run) -> list[str]:
    """What is wrong and what to change, root causes alone; nothing where no rule was asked."""
    findings = read_findings(run.path / "findings.jsonl")
    told = [line for finding in root_findings(findings) for line in finding_lines(finding)]
    return [*told, verdict_counts(findings), f"         clearsight debug {run.path}"] if findings else []


def _repair_lines(run: Run) -> list[str]:
    """What the debugger changed from attempt to attempt, and what came of it."""
    path = run.path / "repairs.json"
    lines, before = [], None
    for attempt in read_json(path) if path.is_file() else []:
        if before is not None:
            change = f"{before['rule']}: {flags(before['fix'])}"
            lines.append(f"repair   {change}; {_accuracies(before)} -> {_accuracies(attempt)}")
        before = attempt
    return lines


def _accuracies(attempt: Mapping[str, Any]) -> str:
    scores = {split: attempt[split] for split in ("valid", "test") if attempt[split]}
    told = ", ".join(f"{split} accuracy {score['accuracy']:.4f}" for split, score in scores.items())
    return told or attempt["status"]


def next_commands(run: Run) -> list[str]:
    """What to do with a run in this state."""
    if run.status in (RunStatus.INTERRUPTED, RunStatus.RUNNING):
        return [f"next     clearsight train --resume {run.path}"]
    if not run.has_bundle:
        return []
    return [
        f"report   {run.path / 'report.html'}",
        f"next     clearsight predict {run.path} IMAGE...",
        f"         clearsight serve {run.path} --port 8080",
        f"         clearsight export {run.path} --out model.tar.gz",
    ]


def _scores(scores: Mapping[str, float]) -> str:
    return f"loss {scores['loss']:.4f} accuracy {scores['accuracy']:.4f}"


def _extra(scores: Mapping[str, float]) -> str:
    named = {"macro_f1": "macro F1", "roc_auc": "ROC-AUC"}
    return "".join(f" {text} {scores[name]:.4f}" for name, text in named.items() if name in scores)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
