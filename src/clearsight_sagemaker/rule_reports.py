"""RuleReport: the verdict of one rule in the format of SageMaker's JSON. T gauge samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clearsight_sagemaker.distribution import Distribution, round_digits
from clearsight_sagemaker.run_profile import NODE, RULES, RunProfile

_REPORTERS = ("OverallFrameworkMetrics", "OverallSystemUsage")  # they never find anything
_BINS = 10  # of a histogram of use, 10 % each
_WARM_UP = 3  # steps at the start of a run that are never outliers, as in StepOutlier


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleReport:
    """One rule of a report.

    triggered: 1 if the rule found something, else 0.  violations: data points that break it if these can be counted one
    by one, else findings (such as one per GPU).  datapoints: gauge samples during training, or timed steps, that it
    had; 0 if it did not check the run or this machine has no such data.
    """

    name: str
    triggered: int
    violations: int
    details: dict[str, Any]
    datapoints: int
    parameters: str

    def to_json(self) -> dict[str, Any]:
        """Return the content of SageMaker's file."""
        return {
            "RuleTriggered": self.triggered,
            "Violations": self.violations,
            "Details": self.details,
            "Datapoints": self.datapoints,
            "RuleParameters": self.parameters,
        }


def rule_reports(run: RunProfile) -> list[RuleReport]:
    """Return the report of each of the eleven rules, in the order of their names."""
    return [_report(run, name) for name in RULES]


def _report(run: RunProfile, name: str) -> RuleReport:
    found = run.found(name)
    checked = run.checked(name) or name in _REPORTERS
    parameters = {} if name in _REPORTERS else run.parameters(name)
    return RuleReport(
        name=name,
        triggered=int(bool(found)),
        violations=_VIOLATIONS[name](run) if found and name in _VIOLATIONS else len(found),
        details=_DETAILS[name](run),
        datapoints=_DATAPOINTS[name](run) if checked else 0,
        parameters="\n".join(f"{key}:{_word(value)}" for key, value in parameters.items()),
    )


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sample_count(run: RunProfile, gauges: Sequence[str]) -> int:
    """Return the number of samples during training of the gauge with the fewest; 0 without a gauge."""
    # A rule needs all of its gauges at once, so the one with the fewest samples bounds its data points.
    return min((len(run.training(gauge)) for gauge in gauges), default=0)


def _timed(run: RunProfile) -> int:
    return len(run.profile.steps())


def _joint_samples(run: RunProfile, gauges: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return gauges at the samples during training that hold all of them, (gauges, T)."""
    profile, table = run.profile, run.profile.steps()
    if not len(table):
        return np.empty((len(gauges), 0))
    first, last = table.starts[0], table.starts[-1] + table.seconds[-1]
    rows = [
        [sample.values[name] for name in gauges]
        for sample in profile.gauge_samples
        if sample.rank == 0 and first <= sample.time <= last and all(name in sample.values for name in gauges)
    ]
    return np.array(rows, np.float64).reshape(-1, len(gauges)).T


def _boxes(run: RunProfile, gauges: Sequence[str]) -> dict[str, Any]:
    """Return the distribution during training of each gauge that was read."""
    boxes = {gauge: Distribution.of(run.training(gauge)) for gauge in gauges}
    return {gauge: box.to_json() for gauge, box in boxes.items() if box is not None}


def _node(values: dict[str, Any]) -> dict[str, Any]:
    # SageMaker groups values by the machines of a job; here there is always one.
    return {NODE: values} if values else {}


def _batch_size(run: RunProfile) -> dict[str, Any]:
    # Without a GPU the processor is the device, and its memory that of the machine.
    memories = [f"{gpu}.memory" for gpu in run.gpus] or ["memory"]
    return _node(_boxes(run, ["cpu", *run.profile.devices(), *memories]))


def _bottleneck(run: RunProfile, rule: str, gauge: str, parameter: str, cores: Sequence[str] = ()) -> dict[str, Any]:
    """Count the samples with idle GPUs, and of these the ones with each gauge above a parameter of the rule."""
    # SageMaker's two bottleneck rules need a GPU; without one their reports are empty.
    if not run.gpus or gauge not in run.profile.gauges():
        return {"low_gpu_utilization": 0, "bottlenecks": {}}
    parameters, gauges = run.parameters(rule), (gauge, *cores)
    samples = _joint_samples(run, [*run.gpus, *gauges])
    idle = samples[: len(run.gpus)].mean(axis=0) < parameters["gpu_threshold"]
    high = samples[len(run.gpus) :] > parameters[parameter]
    counts = {name: int((high[place] & idle).sum()) for place, name in enumerate(gauges)}
    return {"low_gpu_utilization": int(idle.sum()), "bottlenecks": counts}


def _cpu_bottleneck(run: RunProfile) -> dict[str, Any]:
    cores = [name for name in run.profile.gauges() if name.startswith("cpu") and name[3:].isdecimal()]
    return _bottleneck(run, "CPUBottleneck", "cpu", "cpu_threshold", cores)


def _io_bottleneck(run: RunProfile) -> dict[str, Any]:
    return _bottleneck(run, "IOBottleneck", "cpu.iowait", "io_threshold")


def _dataloader(run: RunProfile) -> dict[str, Any]:
    machine = run.profile.machine
    workers = {NODE: machine.workers} if machine.workers is not None else {}
    return {"cores": machine.cores or None, "dataloaders": workers}


def _gpu_memory(run: RunProfile) -> dict[str, Any]:
    return _node(_boxes(run, [f"{gpu}.memory" for gpu in run.gpus]))


def _balance(run: RunProfile) -> dict[str, Any]:
    """Return a histogram of the use of each GPU, in bins of 10 %, and the distance that the rule measured."""
    if len(run.gpus) < 2:
        return {}
    counts = {gpu: np.histogram(run.training(gpu), _BINS, (0, 100))[0].tolist() for gpu in run.gpus}
    # Findings that are clear hold the distance too, so the report shows it in any case.
    distance = max((f.value for f in run.findings.get("LoadBalancing", ()) if f.value is not None), default=None)
    return {"workloads": {NODE: counts}, "distance": distance}


def _utilisation(run: RunProfile) -> dict[str, Any]:
    return _node(_boxes(run, run.profile.devices()))


def _initialisation(run: RunProfile) -> dict[str, Any]:
    stages, table = run.stages, run.profile.steps()
    if stages is None:
        return {}
    return {"step_num": int(table.steps[0]), "job_start": round(stages.start, 3), "job_end": round(stages.end, 3)}


def _framework(run: RunProfile) -> dict[str, Any]:
    profile, table, stages = run.profile, run.profile.steps(), run.stages
    if stages is None:
        return {}
    phases = {name: float(np.nansum(profile.phase(name))) for name in profile.phases()}
    whole = float(table.seconds.sum())
    span_seconds = {
        name: sum(span.seconds for span in profile.spans(name))
        for name in dict.fromkeys(span.name for span in profile.all_spans if span.rank == 0)
    }
    operators = profile.trace.operators if profile.trace else ()
    return {
        "ratio": {name: round_digits(100 * seconds / whole) for name, seconds in phases.items()} if whole else {},
        "phase": {name: round_digits(seconds) for name, seconds in phases.items()},
        "phase_time": {
            "initialization": round_digits(stages.initialisation),
            "training_loop": round_digits(stages.training),
            "finalization": round_digits(stages.finalisation),
        },
        # The key under which reports list spans since the first version.
        "stretches": {name: round_digits(seconds) for name, seconds in span_seconds.items()},
        "CPU": {operator.name: round_digits(operator.cpu_seconds) for operator in operators if operator.cpu_seconds},
        "GPU": {
            operator.name: round_digits(operator.device_seconds) for operator in operators if operator.device_seconds
        },
    }


def _system(run: RunProfile) -> dict[str, Any]:
    """Return the use of the machine, from the first training step to the last."""
    network = _joint_samples(run, ("net.received", "net.sent")).sum(axis=0)
    values = {
        "Network": network,
        "GPU": np.concatenate([np.empty(0), *(run.training(gpu) for gpu in run.gpus)]),
        "CPU": run.training("cpu"),
        "CPU memory": run.training("memory"),
        "GPU memory": np.concatenate([np.empty(0), *(run.training(f"{gpu}.memory") for gpu in run.gpus)]),
        "I/O": run.training("cpu.iowait"),
    }
    boxes = {name: Distribution.of(column) for name, column in values.items()}
    return {name: {NODE: box.summary()} if box is not None else {} for name, box in boxes.items()}


def _outliers(run: RunProfile) -> dict[str, Any]:
    """Return the distribution of step durations, and as many of the longest steps as the rule counted."""
    table = run.profile.steps()
    box = Distribution.of(table.seconds)
    if box is None:
        return {"step_details": {}}
    count = _outlier_count(run)  # findings hold the number of the outliers, not the steps
    late = np.arange(_WARM_UP, len(table))
    longest = late[np.argsort(table.seconds[late], kind="stable")][len(late) - min(count, len(late)) :]
    outliers = {str(int(table.steps[place])): round_digits(table.seconds[place]) for place in np.sort(longest)}
    return {"step_details": {NODE: {"seconds": box.to_json(), "outliers": outliers}}}


def _outlier_count(run: RunProfile) -> int:
    return max((int(finding.value or 0) for finding in run.found("StepOutlier")), default=0)


def _initialised(run: RunProfile) -> int:
    return int(run.stages is not None)


def _with_workers(run: RunProfile) -> int:
    return _timed(run) if run.profile.machine.workers is not None else 0


_DETAILS: dict[str, Callable[[RunProfile], dict[str, Any]]] = {
    "BatchSize": _batch_size,
    "CPUBottleneck": _cpu_bottleneck,
    "Dataloader": _dataloader,
    "GPUMemoryIncrease": _gpu_memory,
    "IOBottleneck": _io_bottleneck,
    "LoadBalancing": _balance,
    "LowGPUUtilization": _utilisation,
    "MaxInitializationTime": _initialisation,
    "OverallFrameworkMetrics": _framework,
    "OverallSystemUsage": _system,
    "StepOutlier": _outliers,
}

_DATAPOINTS: dict[str, Callable[[RunProfile], int]] = {
    "BatchSize": lambda run: _sample_count(run, run.profile.devices()),
    "CPUBottleneck": lambda run: _sample_count(run, ["cpu"]),
    "Dataloader": _with_workers,
    "GPUMemoryIncrease": lambda run: _sample_count(run, [f"{gpu}.memory" for gpu in run.gpus]),
    "IOBottleneck": lambda run: _sample_count(run, ["cpu.iowait"]),
    "LoadBalancing": lambda run: _sample_count(run, run.gpus) if len(run.gpus) > 1 else 0,
    "LowGPUUtilization": lambda run: _sample_count(run, run.profile.devices()),
    "MaxInitializationTime": _initialised,
    "OverallFrameworkMetrics": _timed,
    "OverallSystemUsage": lambda run: _sample_count(run, ["cpu"]),
    "StepOutlier": _timed,
}

# Rules whose violations are data points; for the others they are findings.
_VIOLATIONS: dict[str, Callable[[RunProfile], int]] = {
    "CPUBottleneck": lambda run: _cpu_bottleneck(run)["bottlenecks"].get("cpu") or len(run.found("CPUBottleneck")),
    "IOBottleneck": lambda run: _io_bottleneck(run)["bottlenecks"].get("cpu.iowait") or len(run.found("IOBottleneck")),
    "StepOutlier": _outlier_count,
}
