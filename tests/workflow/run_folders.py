"""Run folders without training, written by the same writers that a training uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clearsight.core.events import EpochRecord, RunStatus, StepRecord
from clearsight.core.finding import Finding, Severity, Verdict, write_findings
from clearsight.core.profile import GaugeSample, Machine, Span, StepTimes
from clearsight.core.profile_folder import gauge_line, gauges_file, span_line, spans_file, write_machine
from clearsight.core.recipe import Recipe
from clearsight.core.run import MetricsLog, Provenance, Run
from clearsight.workflow.messages import FindingsLog
from clearsight.workflow.run.evaluation import Evaluation

CLASSES = ("cat", "dog")
STEPS = 20  # in an epoch
BATCH = 16
START = 1_700_000_000.0


def write_run(
    folder: Path,
    *,
    epochs: int = 3,
    done: int | None = None,
    status: RunStatus = RunStatus.COMPLETED,
    level: float = 0.8,
    fingerprint: str = "a" * 64,
    **settings: Any,
) -> Run:
    """Write a run of which `done` of `epochs` epochs are finished. `level`: its accuracy on the validation split."""
    recipe = Recipe().replace(**{"epochs": epochs, "batch_size": BATCH, "model": "tiny", **settings})
    counts = {"train": STEPS * BATCH // 2, "valid": 50, "test": 100}
    data = {
        "path": "photos",
        "format": "folders",
        "fingerprint": fingerprint,
        "classes": list(CLASSES),
        "counts": {split: dict.fromkeys(CLASSES, each) for split, each in counts.items()},
    }
    run = Run.begin(
        folder, recipe, data=data, provenance=Provenance(command=["clearsight", "train", "photos"]), started=START
    )
    done = epochs if done is None else done
    append_epochs(run, range(1, done + 1), level=level)
    if status is not RunStatus.RUNNING:
        run.seconds, run.best_epoch, run.images_per_second = 12.5 * done, done or None, 188.0
        run.finish(status)
    return run


def append_epochs(
    run: Run, epochs: Sequence[int], *, level: float = 0.8, steps: int = STEPS, whole: bool = True
) -> None:
    """Append the lines of some epochs to metrics.jsonl. whole: False when the last epoch is unfinished."""
    writer = MetricsLog(run.path / "metrics.jsonl", last_step=10**9)
    planned = run.recipe.train.resolved_epochs
    for epoch in epochs:
        for place in range(1, steps + 1):
            step = (epoch - 1) * STEPS + place
            loss = 0.4 + np.exp(-step / 30) + 0.1 * np.sin(step)
            scalars = {"loss": float(loss), "accuracy": level, "lr": 1e-3 / epoch}
            writer.on_step(
                StepRecord(step=step, epoch=epoch, mode="train", scalars=scalars, data_seconds=0.01, step_seconds=0.1)
            )
        if epoch == epochs[-1] and not whole:
            break
        scores = {"loss": 1.2 - level + 0.1 / epoch, "accuracy": level * (1 - 0.2 / epoch)}
        writer.on_epoch(
            EpochRecord(
                epoch=epoch,
                epochs=planned,
                step=epoch * STEPS,
                lr=1e-3 / epoch,
                train=scores,
                valid=scores,
                images_per_second=160.0,
                data_share=0.1,
                seconds=2.5,
                best=True,
            )
        )
    writer.close()


def write_evaluation(run: Run, correct: Sequence[bool], *, names: Sequence[str] | None = None) -> None:
    """Write the evaluation of a test split of cats and dogs in turns. correct: per image, True for a hit."""
    labels = np.arange(len(correct)) % len(CLASSES)
    predicted = np.where(correct, labels, 1 - labels)
    Evaluation(
        split="test",
        classes=CLASSES,
        ids=tuple(names or (f"test/{i}.jpg" for i in range(len(correct)))),
        labels=labels,
        logits=np.where(np.arange(len(CLASSES)) == predicted[:, None], 2.0, 0.0).astype(np.float32),
        temperature=1.0,
    ).write(run.path / "evaluation")


def write_verdicts(run: Run) -> None:
    """Write one finding and one clear verdict."""
    write_findings(
        run.path / "findings.jsonl",
        [
            Finding(
                rule="Overfit",
                verdict=Verdict.FOUND,
                severity=Severity.WARNING,
                cause="validation loss rises while training loss falls",
                fix={"weight_decay": 0.05},
                group="Overfit",
                steps=(20, 60),
            ),
            Finding(rule="LossNotDecreasing", verdict=Verdict.CLEAR),
        ],
    )


def append_findings(run: Run, *findings: Finding) -> None:
    """Append findings to findings.live.jsonl as a running job does."""
    log = FindingsLog(run.files.live_findings)
    for finding in findings:
        log.on_finding(finding)


def append_profile(run: Run, *, steps: int = 40, samples: int = 30, gauges: Mapping[str, float] | None = None) -> None:
    """Append a profile of some steps and some gauge samples."""
    folder = run.path / "profile"
    folder.mkdir(exist_ok=True)
    write_machine(folder, Machine(cores=2, device="cpu", interval=0.5, batch_size=BATCH))
    values = gauges or {"cpu": 90.0, "tree.cpu": 80.0, "memory": 40.0, "tree.memory": 2.0 * 2**30}
    with gauges_file(folder).open("a", encoding="utf-8") as lines:
        lines.writelines(gauge_line(GaugeSample(time=START + i / 2, values=values)) for i in range(samples))
    phases = {"data": 0.02, "forward": 0.03, "backward": 0.04}
    with spans_file(folder).open("a", encoding="utf-8") as lines:
        lines.write(span_line(Span(name="initialisation", start=START, seconds=3.0)))
        for step in range(1, steps + 1):
            times = StepTimes(step=step, epoch=1, start=START + step / 10, seconds=0.1, samples=BATCH, phases=phases)
            lines.write(span_line(times))
