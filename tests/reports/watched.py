"""Findings, rules, actions and profiles of a run, written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from clearsight.core.finding import Finding, Points, Series, Severity, Verdict
from clearsight.core.profile import Machine, Operator, Profile, Span, Trace
from clearsight.testing.profiles import CPU_MACHINE, GIB, healthy_gpu, profile


def found(rule: str, *, steps: tuple[int, int] | None = (40, 160), group: str = "", **more: Any) -> Finding:
    """A finding with a value, a threshold and a cause."""
    fields: dict[str, Any] = {
        "severity": Severity.WARNING,
        "value": 0.62,
        "threshold": 0.3,
        "cause": f"cause of {rule}",
        **more,
    }
    return Finding(rule=rule, verdict=Verdict.FOUND, steps=steps, group=group or rule, **fields)


def clear(rule: str) -> Finding:
    """The verdict of a rule that found nothing."""
    return Finding(rule=rule, verdict=Verdict.CLEAR, severity=Severity.INFO, value=0.01, threshold=0.3)


def not_enough_data(rule: str) -> Finding:
    """The verdict of a rule that had too little data."""
    points = Points(7, 50, "training steps")
    return Finding(rule=rule, verdict=Verdict.NOT_ENOUGH_DATA, severity=Severity.INFO, points=points)


def curve(name: str, level: float = 0.5, points: int = 60) -> Series:
    """Evidence that goes up and down."""
    steps = np.arange(1, points + 1)
    return Series.of(name, steps, level * (1 + 0.4 * np.sin(steps / 5)))


def findings() -> list[Finding]:
    """Three root causes, one with a consequence; then the other verdicts."""
    return [
        found(
            "LearningRateTooHigh",
            severity=Severity.SEVERE,
            value=0.41,
            threshold=0.15,
            unit="of the loss",
            steps=(40, 160),
            cause="from step 40 on the loss jumps by 41% from one step to the next and ends higher than it began",
            fix={"lr": 1e-4, "warmup": 0.1},
            confidence=0.93,
            evidence=(curve("loss", 1.2), curve("gradient norm", 8)),
        ),
        found(
            "LossOscillating",
            group="LearningRateTooHigh",
            steps=(44, 160),
            cause="the loss swings by 0.48 around its mean",
            evidence=(curve("loss", 1.2),),
        ),
        found(
            "DataWait",
            value=62.0,
            threshold=20.0,
            unit="%",
            steps=(1, 160),
            cause="the training thread waits for batches 62% of its time",
            fix={"workers": 4},
            advice="Smaller images on disk would help as well.",
            evidence=(curve("waiting for data", 60),),
        ),
        found("DeadRelu", subject="layer2.0.relu", steps=(20, 160), value=91.0, threshold=50.0, unit="%",
              cause="91% of the outputs of layer2.0.relu are always 0", advice="replace the ReLU by a leaky one"),
        found("DeadRelu", subject="layer3.1.relu", steps=(60, 160), value=77.0, threshold=50.0, unit="%"),
        clear("Overfit"),
        clear("BatchSize"),
        not_enough_data("ClassImbalance"),
    ]  # fmt: skip


def rules() -> list[dict[str, Any]]:
    """The rules behind `findings`, and one without a verdict."""
    speed = {"DataWait", "BatchSize", "StepOutlier"}
    names = [*dict.fromkeys(finding.rule for finding in findings()), "StepOutlier"]
    return [
        {
            "name": name,
            "parameters": {"window": 50, "least": None, "tensors": ""},
            "topic": "speed" if name in speed else "learning",
        }
        for name in names
    ]


ACTIONS = (
    {"step": 42, "rule": "LearningRateTooHigh", "action": "adjust", "changed": {"lr": 1e-4}, "outcome": "adjusted"},
    {"step": 120, "rule": "DataWait", "action": "notify", "changed": {}, "outcome": "sent"},
)
WHAT_IF = (
    {
        "name": "enough loader workers",
        "change": {"workers": 4},
        "images_per_second_now": 313.0,
        "images_per_second_then": 702.0,
        "basis": "time of steps without waiting for data",
    },
)
TUNING = {
    "chosen": {"workers": 2, "threads": 2},
    "rows": [
        {"settings": {"workers": 1, "threads": 2}, "images_per_second": 88.0, "spread": 2.1, "note": ""},
        {"settings": {"workers": 2, "threads": 2}, "images_per_second": 131.0, "spread": 1.9, "note": ""},
    ],
    "why": "Two workers keep two cores busy.",
}
HOTLINES = ({"where": "train.py:42 decode", "share": 0.83}, {"where": "train.py:57 <listcomp>", "share": 0.09})
TRACE = Trace(
    first=20,
    last=24,
    seconds=0.6,
    operators=tuple(
        Operator(name=f"aten::op{i}<&>", calls=10 * i, cpu_seconds=0.05 / i, memory_bytes=i * 2**20)
        for i in range(1, 21)
    ),
    kernels=1200,
    kernel_seconds=0.5,
)


def slow_profile(*, steps: int = 160, cores: int = 8, machine: Machine = CPU_MACHINE) -> Profile:
    """A CPU run of 8 epochs that waits for data, with three outliers and validation after every epoch."""
    rng = np.random.default_rng(0)
    seconds = np.full(steps, 0.25)
    waits = np.full(steps, 0.155)
    for place in (37, 88, 131):
        seconds[place] += 1.1
        waits[place] += 1.1
    per_epoch = steps // 8
    ends = [per_epoch * (i + 1) for i in range(8)]
    samples = 220
    busy = np.clip(46 + 14 * np.sin(np.arange(samples) / 9) + rng.normal(0, 5, samples), 0, 100)
    every_core = {f"cpu{core}": np.clip(busy + rng.normal(0, 14, samples) - 2 * core, 0, 100) for core in range(cores)}
    return profile(
        steps=steps,
        seconds=seconds,
        phases={"data": waits, "forward": 0.03, "loss": 0.001, "backward": 0.05, "optimizer": 0.008, "hook": 0.002},
        load={"read": 0.05, "decode": 0.3, "augment": 0.14, "collate": 0.03, "images": 32, "bytes": 32 * 81_000},
        gauges={
            "cpu": busy + 4,
            **every_core,
            "cpu.iowait": 3 + 2 * np.sin(np.arange(samples) / 4),
            "tree.cpu": busy,
            "tree.memory": np.linspace(1.4, 3.1, samples) * GIB,
            "memory": 42.0,
            "disk.read": 2.4e7,
            "tree.read": 2.2e7,
            "net.sent": 10.0,
        },
        machine=replace(machine, cores=cores, workers=2, threads=2),
        per_epoch=per_epoch,
        pauses={"validation": dict.fromkeys(ends, 1.4), "checkpoint": dict.fromkeys(ends, 0.3)},
        padding=0.12,
        noise=0.03,
        trace=TRACE,
    )


def busy_gpus(gpus: int = 2, steps: int = 300, cores: int = 8) -> Profile:
    """A healthy run on GPUs, with a gauge per core."""
    measured = healthy_gpu(gpus=gpus, steps=steps)
    every_core = {f"cpu{core}": 40.0 + core % 50 for core in range(cores)}
    samples = [replace(sample, values={**sample.values, **every_core}) for sample in measured.gauge_samples]
    return Profile(measured.machine, samples, measured.step_times, measured.all_spans, measured.trace)


def grad_norms(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl for the gradient norm at every step that has a loss."""
    steps = [row for row in rows if row["name"] == "loss" and row["mode"] == "train"]
    return [{**row, "name": "grad_norm", "value": 3.0 + np.sin(row["step"] / 7)} for row in steps]


def hostile_findings(names: Sequence[str]) -> list[Finding]:
    """Findings with one of `names` in every text."""
    texts: dict[str, Any] = {"subject": names[1], "cause": names[2], "advice": names[3], "unit": names[4]}
    root = found(names[0], fix={"lr": names[1]}, evidence=(curve(names[0]),), **texts)
    return [root, found(names[1], group=names[0], steps=(5, 9), **texts)]


def hostile_profile(names: Sequence[str]) -> Profile:
    """A profile whose gauges, phases, spans, operators and machine have the names `names`."""
    spans = [Span(name=name, start=1_700_000_001.0 + i, seconds=0.5) for i, name in enumerate(names)]
    operators = tuple(Operator(name=name, calls=1, cpu_seconds=0.1) for name in names)
    return profile(
        steps=20,
        phases=dict.fromkeys(names, 0.01),
        gauges={"cpu": 40.0, **dict.fromkeys(names, 3.0)},
        machine=replace(CPU_MACHINE, name=names[0], precision=names[1]),
        spans=spans,
        trace=Trace(first=1, last=2, seconds=1.0, operators=operators, kernels=3, kernel_seconds=0.1),
    )
