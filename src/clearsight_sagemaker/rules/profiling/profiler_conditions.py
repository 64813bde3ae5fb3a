"""Conditions of SageMaker's profiler rules on the metrics of a whole job. T samples, G GPUs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from clearsight.core.finding import Finding, Points, Severity, Verdict
from clearsight_sagemaker.run_profile import RunProfile

Parameters: TypeAlias = "Mapping[str, float]"
_BINS = 10  # of a histogram of use, 10 % each
_NO_GPU = "this machine has no GPU, and the rule judges GPUs alone"
_NO_STEPS = "no step was timed: the rule needs framework metrics (FrameworkProfile)"


def judge_rule(run: RunProfile, rule: str, parameters: Parameters) -> Finding:
    """Return the verdict of a profiler rule of SageMaker.

    A job with fewer data points than `patience` is not judged, as in SageMaker; the finding says what the rule would
    find without it.
    """
    if rule in ("OverallSystemUsage", "OverallFrameworkMetrics"):
        return Finding(rule=rule, verdict=Verdict.CLEAR, severity=Severity.INFO)
    finding = _CONDITIONS[rule](run, parameters)
    points, patience = len(run.profile.gauge_samples), int(parameters.get("patience", 0))
    if points >= patience or finding.verdict is Verdict.NOT_ENOUGH_DATA:
        return finding
    result = f"It would find: {finding.cause}" if finding.found else "It would find nothing"
    cause = f"{points} data points, and the rule judges from patience={patience} on. {result}"
    return _missing(rule, cause, Points(points, patience, "profiler samples"))


def _batch_size(run: RunProfile, p: Parameters) -> Finding:
    rule, names = "BatchSize", ["cpu", *run.gpus, *(f"{gpu}.memory" for gpu in run.gpus)]
    if not run.gpus:
        return _missing(rule, _NO_GPU)
    limits = [p["cpu_threshold_p95"], p["gpu_threshold_p95"], p["gpu_memory_threshold_p95"]]
    highest = [
        max(_percentile(run.training(name)[-int(p["window"]) :], 95) for name in group)
        for group in (names[:1], run.gpus, names[1 + len(run.gpus) :])
    ]
    is_low = all(value < limit for value, limit in zip(highest, limits, strict=True))
    cause = (
        f"the 95th percentiles of the cores ({highest[0]:.0f} %), of the GPUs ({highest[1]:.0f} %) and of their memory"
        f" ({highest[2]:.0f} %) are all below their thresholds"
    )
    return _verdict(rule, is_low, highest[1], limits[1], cause)


def _bottleneck(rule: str, gauge: str, parameter: str, word: str) -> Callable[[RunProfile, Parameters], Finding]:
    """Return the condition that GPUs idle while a gauge of the cores is high."""

    def condition(run: RunProfile, p: Parameters) -> Finding:
        if not run.gpus:
            return _missing(rule, _NO_GPU)
        rows = run.joint_samples([gauge, *run.gpus])  # (1 + G, T)
        if not rows.shape[1]:
            return _missing(rule, "there are no system metrics")
        met = (rows[0] > p[parameter]) & (rows[1:].mean(axis=0) < p["gpu_threshold"])
        share = 100 * float(met.mean())
        cause = f"at {share:.0f} % of {rows.shape[1]} samples {word} while the GPUs were idle"
        return _verdict(rule, share > p["threshold"], share, p["threshold"], cause)

    return condition


def _dataloader(run: RunProfile, p: Parameters) -> Finding:
    workers, count = run.profile.machine.workers, run.profile.machine.cores
    if workers is None or not count:
        return _missing("Dataloader", "the number of loader workers is not known")
    share = 100 * workers / count
    is_outside = not p["min_threshold"] <= share <= p["max_threshold"]
    cause = f"there are {workers} loader workers for {count} cores"
    return _verdict("Dataloader", is_outside, share, p["min_threshold"], cause)


def _memory_increase(run: RunProfile, p: Parameters) -> Finding:
    rule, window = "GPUMemoryIncrease", max(1, int(p["window"]))
    if not run.gpus:
        return _missing(rule, _NO_GPU)
    rises = {gpu: _largest_rise(run.training(f"{gpu}.memory"), window) for gpu in run.gpus}
    gpu = max(rises, key=lambda name: rises[name])
    cause = (
        f"the memory in use of {gpu} rose by {rises[gpu]:.1f} points from one window of {window} samples to the next"
    )
    return _verdict(rule, rises[gpu] > p["increase"], rises[gpu], p["increase"], cause)


def _load_balancing(run: RunProfile, p: Parameters) -> Finding:
    rule = "LoadBalancing"
    if len(run.gpus) < 2:
        return _missing(rule, "the rule compares GPUs, and this machine has fewer than 2")
    shares = [_histogram(run.training(gpu)) for gpu in run.gpus]
    distance = max(float(np.abs(a - b).sum()) / 2 for a in shares for b in shares)
    cause = f"the histograms of the use of two GPUs differ by {distance:.2f}, on a scale from 0 to 1"
    return _verdict(rule, distance > p["threshold"], distance, p["threshold"], cause, unit="")


def _low_gpu(run: RunProfile, p: Parameters) -> Finding:
    rule = "LowGPUUtilization"
    if not run.gpus:
        return _missing(rule, _NO_GPU)
    for gpu in run.gpus:
        values = run.training(gpu)[-int(p["window"]) :]
        high, low = _percentile(values, 95), _percentile(values, 5)
        if high < p["threshold_p95"]:
            cause = f"the use of {gpu} reaches at most {high:.0f} % (95th percentile)"
            return _verdict(rule, True, high, p["threshold_p95"], cause)
        if low < p["threshold_p5"]:
            cause = f"the use of {gpu} varies between {low:.0f} % and {high:.0f} % (5th and 95th percentile)"
            return _verdict(rule, True, low, p["threshold_p5"], cause)
    return _verdict(rule, False, high, p["threshold_p95"], "")


def _initialisation(run: RunProfile, p: Parameters) -> Finding:
    rule, stages = "MaxInitializationTime", run.stages
    if stages is None:
        return _missing(rule, _NO_STEPS)
    minutes = stages.initialisation / 60
    cause = f"the first step began {minutes:.1f} minutes after the job"
    return _verdict(rule, minutes > p["threshold"], minutes, p["threshold"], cause, unit="minutes")


def _outliers(run: RunProfile, p: Parameters) -> Finding:
    rule, seconds = "StepOutlier", run.profile.steps().seconds
    if not len(seconds):
        return _missing(rule, _NO_STEPS)
    limit = float(seconds.mean() + p["stddev"] * seconds.std())
    count = int((seconds > limit).sum())
    cause = f"{count} of {len(seconds)} steps took longer than {limit:.3g} s, the mean and {p['stddev']:g} deviations"
    return _verdict(rule, count > p["n_outliers"], count, p["n_outliers"], cause, unit="steps")


_CONDITIONS: dict[str, Callable[[RunProfile, Parameters], Finding]] = {
    "BatchSize": _batch_size,
    "CPUBottleneck": _bottleneck("CPUBottleneck", "cpu", "cpu_threshold", "the cores were fully used"),
    "Dataloader": _dataloader,
    "GPUMemoryIncrease": _memory_increase,
    "IOBottleneck": _bottleneck("IOBottleneck", "cpu.iowait", "io_threshold", "the cores waited for I/O"),
    "LoadBalancing": _load_balancing,
    "LowGPUUtilization": _low_gpu,
    "MaxInitializationTime": _initialisation,
    "StepOutlier": _outliers,
}


def _verdict(rule: str, met: bool, value: float, threshold: float, cause: str, *, unit: str = "%") -> Finding:
    return Finding(
        rule=rule,
        verdict=Verdict.FOUND if met else Verdict.CLEAR,
        severity=Severity.WARNING if met else Severity.INFO,
        value=float(value),
        threshold=float(threshold),
        unit=unit,
        cause=cause if met else "",
    )


def _missing(rule: str, cause: str, points: Points | None = None) -> Finding:
    return Finding(
        rule=rule, verdict=Verdict.NOT_ENOUGH_DATA, severity=Severity.INFO, cause=cause, points=points or Points(0, 1)
    )


def _percentile(values: npt.NDArray[np.float64], percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else 0.0


def _largest_rise(values: npt.NDArray[np.float64], window: int) -> float:
    """Return by how much the mean of a window is at most above that of the window before it."""
    if len(values) < 2 * window:
        return 0.0
    means = np.convolve(values, np.ones(window) / window, "valid")
    return float((means[window:] - means[:-window]).max())


def _histogram(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    counts = np.histogram(values, _BINS, (0, 100))[0].astype(np.float64)
    return counts / max(1.0, float(counts.sum()))
