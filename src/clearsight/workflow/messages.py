"""Messages about a run: its plan, an epoch, its end; and the files that follow it while it goes on.

The terminal and log.txt show the same lines. findings.live.jsonl is for programs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clearsight.core.bundle import calibration_text
from clearsight.core.events import EpochRecord, FailedStep, NullObserver, RunPlan, RunStatus
from clearsight.core.files import finite_json, read_json
from clearsight.core.finding import Finding, finding_lines, flags, read_findings, verdict_counts
from clearsight.core.format import duration, several, speed
from clearsight.core.judge import root_findings
from clearsight.core.run import Run
from clearsight.core.run_facts import read_evaluation
from clearsight.core.safe_text import printable_line
from clearsight.workflow.run.external import ExternalRun


def plan_lines(plan: RunPlan) -> list[str]:
    """Return the plan, one fact a line."""
    images = ", ".join(f"{count:,} {split}" for split, count in plan.images.items())
    trained = f"{plan.trainable:,} of {plan.parameters:,} parameters are trained"
    cached = f", features of the frozen part computed once ({plan.cached})" if plan.cached else ""
    about = f", about {duration(plan.seconds)}" if plan.seconds >= 1 else ""  # about 0 with cached features
    return [
        f"data     {images}; {plan.classes} classes, largest to smallest {plan.imbalance:.1f} : 1",
        f"model    {plan.model}, {trained}{cached}",
        f"weights  {plan.weights}",
        f"input    {plan.preprocess}",
        f"device   {plan.device}, {plan.precision}, {plan.workers} loader worker{'s' if plan.workers != 1 else ''}",
        f"work     {plan.epochs} epochs, {plan.steps:,} steps of {plan.batch_size}, learning rate {plan.lr:g}{about}",
        *([f"default  {plan.default}"] if plan.default else []),
        *(f"note     {note}" for note in plan.notes),
        *(f"debug    {line}" for line in plan.saved),
        *([f"profile  {plan.measured}"] if plan.measured else []),
    ]


def epoch_line(record: EpochRecord) -> str:
    """Return the line of a finished epoch."""
    width = len(str(record.epochs))  # so that the lines of all epochs align
    word = "refit" if record.training == "refit" else "epoch"
    parts = [f"{word} {record.epoch:>{width}}/{record.epochs}", f"train {_scores(record.train)}"]
    if record.valid:
        parts.append(f"valid {_scores(record.valid)}")
    if record.seconds:  # a loop of the user's own is not timed
        parts.append(speed(record.images_per_second))
        parts.append(f"data wait {100 * record.data_share:.0f} %")
    # Without validation nothing was compared.
    return "  ".join(parts) + ("  best" if record.best and record.valid else "")


def end_lines(run: Run) -> list[str]:
    """Return how a run ended, its scores, and the commands to type next."""
    after = f" ({run.reason})" if run.reason else ""
    lines = [f"{run.status.value.replace('_', ' ')}{after} after {duration(run.seconds)}"]
    for split in ("valid", "test"):
        if scores := run.scores.get(split):
            best = f", epoch {run.best_epoch}" if split == "valid" else ""
            lines.append(f"{split:<8} {_scores(scores)}{_extra(scores)}{best}")
    lines += _served_lines(run)
    failed = [line for step in run.failed_steps for line in failed_step_lines(step)]
    return [*lines, *_refit_lines(run), *_repair_lines(run), *_finding_lines(run), *failed, *next_commands(run)]


def _served_lines(run: Run) -> list[str]:
    """Return how the model's probabilities are calibrated, and what that changed on the test images."""
    if not run.has_bundle:
        return []
    temperature = run.calibration.get("temperature", 1.0)
    lines = [f"served   {calibration_text(temperature, run.calibration)}"]
    if temperature != 1 and run.files.scores.is_file():
        lines += [f"         {line}" for line in calibration_lines(read_evaluation(run.files.scores))]
    return lines


def calibration_lines(evaluation: Mapping[str, Any]) -> list[str]:
    """Return loss and calibration error of the served probabilities, each beside its value without calibration."""
    if "loss_served" not in evaluation:  # measured by an earlier version
        return []
    losses = f"{evaluation['loss']:.4f} -> {evaluation['loss_served']:.4f}"
    errors = f"{evaluation['ece_uncalibrated']:.4f} -> {evaluation['ece']:.4f}"
    return [f"{evaluation['split']} loss {losses}, calibration error (ECE) {errors}"]


def failed_step_text(step: Mapping[str, Any]) -> str:
    """Return a failed step as one line."""
    return f"{step['step']} failed: {step['problem']} Repeat it with: {step['command']}"


def failed_step_lines(step: Mapping[str, Any]) -> list[str]:
    """Return the lines of a step after the training that failed. step: an entry of run.failed_steps."""
    return [f"failed   {step['step']}: {step['problem']}", f"repeat   {step['command']}"]


def external_end_lines(run: ExternalRun) -> list[str]:
    """Return how a training loop of the user's own ended, its last scores, and the commands to type next."""
    lines = [f"{run.status.value} ({run.reason})" if run.reason else run.status.value]
    for epoch in run.epochs()[-1:]:
        scores = [(split, epoch[side]) for split, side in (("train", "train"), ("valid", "valid")) if epoch[side]]
        lines += [f"{split:<8} {_scores(values)}, epoch {epoch['epoch']}" for split, values in scores]
    return [*lines, *_finding_lines(run), f"next     clearsight report {run.path}"]


def _finding_lines(run: Run | ExternalRun) -> list[str]:
    """Return the root causes with their fixes; nothing where no rule was asked."""
    findings = read_findings(run.files.findings)
    causes = [line for finding in root_findings(findings) for line in finding_lines(finding)]
    # Root causes alone: their consequences go away with them.
    causes += [line for finding in findings if finding.resolved for line in finding_lines(finding)]
    return [*causes, verdict_counts(findings), f"         clearsight debug {run.path}"] if findings else []


def _refit_lines(run: Run) -> list[str]:
    """Return which weights --refit delivered."""
    if run.refit is None:
        return []
    if not run.refit["epochs"]:
        return [f"refit    not done ({run.refit['reason']}): the model has the weights of the scored training"]
    done = f"{several(run.refit['epochs'], 'epoch')} on {several(run.refit['images'], 'image')}"
    return [f"refit    {done}, validation images included; the validation scores are those before it"]


def _repair_lines(run: Run) -> list[str]:
    """Return what --repair changed from attempt to attempt, and the accuracies before and after."""
    path = run.files.repairs
    lines, before = [], None
    for attempt in read_json(path) if path.is_file() else []:
        if before is not None:
            change = f"{before['rule']}: {flags(before['fix'])}"
            lines.append(f"repair   {change}; {_accuracies(before)} -> {_accuracies(attempt)}")
        before = attempt
    return lines


def _accuracies(attempt: Mapping[str, Any]) -> str:
    scores = {split: attempt[split] for split in ("valid", "test") if attempt[split]}
    text = ", ".join(f"{split} accuracy {score['accuracy']:.4f}" for split, score in scores.items())
    return text or attempt["status"]


def next_commands(run: Run) -> list[str]:
    """Return the report and the commands that make sense for a run in this state."""
    report = [f"report   {run.files.report}"] if run.files.report.is_file() else []
    if run.status in (RunStatus.INTERRUPTED, RunStatus.RUNNING):
        return [f"next     clearsight train --resume {run.path}"]
    if run.has_bundle:
        commands = [
            f"clearsight predict {run.path} IMAGE...",
            f"clearsight serve {run.path} --port 8080",
            f"clearsight export {run.path} --out model.tar.gz",
        ]
    else:
        commands = _retry_commands(run)
    return [*report, *(f"{'next' if i == 0 else '':<8} {command}" for i, command in enumerate(commands))]


def _retry_commands(run: Run) -> list[str]:
    """Return the commands for a run that diverged or failed: it has no model to predict with."""
    if run.status is not RunStatus.DIVERGED:
        has_checkpoint = run.checkpoints.is_dir() and any(run.checkpoints.iterdir())
        return [f"clearsight train --resume {run.path}"] if has_checkpoint else []
    fix = next((finding.fix for finding in root_findings(read_findings(run.files.findings)) if finding.fix), {})
    # Without a finding: a rate that is too high is by far the most frequent reason.
    change = flags(fix or {"lr": (run.recipe.optim.lr or 1e-3) / 10})
    return [f"clearsight train {run.data.get('path', 'DATA')} --recipe {run.files.recipe} {change}"]


def _scores(scores: Mapping[str, float]) -> str:
    return " ".join(f"{name} {scores[name]:.4f}" for name in ("loss", "accuracy") if name in scores)


def _extra(scores: Mapping[str, float]) -> str:
    named = {"macro_f1": "macro F1", "roc_auc": "ROC-AUC"}
    return "".join(f" {text} {scores[name]:.4f}" for name, text in named.items() if name in scores)


class LogWriter(NullObserver):
    """Appends to log.txt. Not vital: a run goes on without its log."""

    vital = False

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_plan(self, plan: RunPlan) -> None:
        self._write(*plan_lines(plan))

    def on_epoch(self, record: EpochRecord) -> None:
        self._write(epoch_line(record))

    def on_finding(self, finding: Finding) -> None:
        self._write(*finding_lines(finding))

    def on_resolved(self, finding: Finding) -> None:
        self._write(*finding_lines(finding))

    def on_remark(self, remark: str) -> None:
        self._write(f"note     {remark}")

    def on_failed_step(self, failed: FailedStep) -> None:
        self._write(*failed_step_lines(failed.to_json()), *failed.traceback.splitlines())

    def on_end(self, status: RunStatus, reason: str) -> None:
        self._write(f"{status.value}{f': {reason}' if reason else ''}")

    def _write(self, *lines: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")  # UTC: logs of several machines can be compared
        with self._path.open("a", encoding="utf-8", errors="replace") as log:
            log.writelines(f"{now} {printable_line(line)}\n" for line in lines)  # `cat` shows it on a terminal


class FindingsLog(NullObserver):
    """Appends each finding of a running job, and what became of it, to findings.live.jsonl, one JSON object a line."""

    vital = False  # findings.jsonl holds them again at the end

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_resolved(self, finding: Finding) -> None:
        self.on_finding(finding)

    def on_finding(self, finding: Finding) -> None:
        # One write of one line: a reader sees the whole line or leaves the rest for its next call.
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite_json(finding.to_json())) + "\n")
