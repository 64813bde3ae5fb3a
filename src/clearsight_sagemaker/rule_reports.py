"""RuleReport: what one rule said, in the shape of SageMaker's JSON of that rule. T looks at the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clearsight_sagemaker.distribution import Distribution, plain
from clearsight_sagemaker.measured import NODE, RULES, Measured

_REPORTERS = ("OverallFrameworkMetrics", "OverallSystemUsage")  # they never find anything
_BINS = 10  # of a histogram of use, 10 % each
_WARM_UP = 3  # steps at the start of a run that are never outliers


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleReport:
    """One rule of a report.

    triggered: 1 where the rule found something, else 0.  violations: data points that break it where these can be
    counted one by one, else findings (one per GPU, say).  datapoints: looks at the machine during training, or timed
    steps, that it had; 0 where it was not asked or this machine has nothing for it.
    """

    name: str
    triggered: int
    violations: int
    details: dict[str, Any]
    datapoints: int
    parameters: str

    def to_json(self) -> dict[str, Any]:
        """The file that SageMaker writes of it."""
        return {
            "RuleTriggered": self.triggered,
            "Violations": self.violations,
            "Details": self.details,
            "Datapoints": self.datapoints,
            "RuleParameters": self.parameters,
        }


def rule_reports(run: Measured) -> list[RuleReport]:
    """The report of each of the eleven rules, in the order of their names."""
    return [_report(run, name) for name in RULES]


def _report(run: Measured, name: str) -> RuleReport:
    found = run.found(name)
    asked = run.asked(name) or name in _REPORTERS
    parameters = {} if name in _REPORTERS else run.parameters(name)
    return RuleReport(
        name=name,
        triggered=int(bool(found)),
        violations=_VIOLATIONS[name](run) if found and name in _VIOLATIONS else len(found),
        details=_DETAILS[name](run),
        datapoints=_DATAPOINTS[name](run) if asked else 0,
        parameters="\n".join(f"{key}:{_word(value)}" for key, value in parameters.items()),
    )


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _looks(run: Measured, gauges: Sequence[str]) -> int:
    """Looks during training at which all of some gauges were read; 0 without a gauge."""
    return min((len(run.training(gauge)) for gauge in gauges), default=0)


def _timed(run: Measured) -> int:
    return len(run.profile.steps())


def _together(run: Measured, gauges: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Gauges at the looks during training at which all of them were read, (gauges, T)."""
    profile, table = run.profile, run.profile.steps()
    if not len(table):
        return np.empty((len(gauges), 0))
    first, last = table.starts[0], table.starts[-1] + table.seconds[-1]
    rows = [
        [look.values[name] for name in gauges]
        for look in profile.looks
        if look.rank == 0 and first <= look.time <= last and all(name in look.values for name in gauges)
    ]
    return np.array(rows, np.float64).reshape(-1, len(gauges)).T


def _boxes(run: Measured, gauges: Sequence[str]) -> dict[str, Any]:
    """The distribution of each gauge during training, of those that were read."""
    told = {gauge: Distribution.of(run.training(gauge)) for gauge in gauges}
    return {gauge: box.to_json() for gauge, box in told.items() if box is not None}


def _node(values: dict[str, Any]) -> dict[str, Any]:
    return {NODE: values} if values else {}


def _batch_size(run: Measured) -> dict[str, Any]:
    memories = [f"{gpu}.memory" for gpu in run.gpus] or ["memory"]
    return _node(_boxes(run, ["cpu", *run.profile.devices(), *memories]))


def _bottleneck(run: Measured, rule: str, gauge: str, parameter: str, cores: Sequence[str] = ()) -> dict[str, Any]:
    """How often the GPUs idled, and how often each of some gauges was above a parameter of the rule then."""
    if not run.gpus or gauge not in run.profile.gauges():
        return {"low_gpu_utilization": 0, "bottlenecks": {}}
    borders, gauges = run.parameters(rule), (gauge, *cores)
    seen = _together(run, [*run.gpus, *gauges])
    idle = seen[: len(run.gpus)].mean(axis=0) < borders["gpu_threshold"]
    over = seen[len(run.gpus) :] > borders[parameter]
    counts = {name: int((over[place] & idle).sum()) for place, name in enumerate(gauges)}
    return {"low_gpu_utilization": int(idle.sum()), "bottlenecks": counts}


def _cpu_bottleneck(run: Measured) -> dict[str, Any]:
    cores = [name for name in run.profile.gauges() if name.startswith("cpu") and name[3:].isdecimal()]
    return _bottleneck(run, "CPUBottleneck", "cpu", "cpu_threshold", cores)


def _io_bottleneck(run: Measured) -> dict[str, Any]:
    return _bottleneck(run, "IOBottleneck", "cpu.iowait", "io_threshold")


def _dataloader(run: Measured) -> dict[str, Any]:
    machine = run.profile.machine
    workers = {NODE: machine.workers} if machine.workers is not None else {}
    return {"cores": machine.cores or None, "dataloaders": workers}


def _gpu_memory(run: Measured) -> dict[str, Any]:
    return _node(_boxes(run, [f"{gpu}.memory" for gpu in run.gpus]))


def _balance(run: Measured) -> dict[str, Any]:
    """How often each GPU was used how much, in bins of 10 %, and the distance that the rule measured."""
    if len(run.gpus) < 2:
        return {}
    counts = {gpu: np.histogram(run.training(gpu), _BINS, (0, 100))[0].tolist() for gpu in run.gpus}
    distance = max((f.value for f in run.findings.get("LoadBalancing", ()) if f.value is not None), default=None)
    return {"workloads": {NODE: counts}, "distance": distance}


def _utilisation(run: Measured) -> dict[str, Any]:
    return _node(_boxes(run, run.profile.devices()))


def _initialisation(run: Measured) -> dict[str, Any]:
    stages, table = run.stages, run.profile.steps()
    if stages is None:
        return {}
    return {"step_num": int(table.steps[0]), "job_start": round(stages.start, 3), "job_end": round(stages.end, 3)}


def _framework(run: Measured) -> dict[str, Any]:
    profile, table, stages = run.profile, run.profile.steps(), run.stages
    if stages is None:
        return {}
    spent = {name: float(np.nansum(profile.phase(name))) for name in profile.phases()}
    whole = float(table.seconds.sum())
    others = {
        name: sum(span.seconds for span in profile.spans(name))
        for name in dict.fromkeys(span.name for span in profile.stretches if span.rank == 0)
    }
    operators = profile.trace.operators if profile.trace else ()
    return {
        "ratio": {name: plain(100 * seconds / whole) for name, seconds in spent.items()} if whole else {},
        "phase": {name: plain(seconds) for name, seconds in spent.items()},
        "phase_time": {
            "initialization": plain(stages.initialisation),
            "training_loop": plain(stages.training),
            "finalization": plain(stages.finalisation),
        },
        "stretches": {name: plain(seconds) for name, seconds in others.items()},
        "CPU": {one.name: plain(one.cpu_seconds) for one in operators if one.cpu_seconds},
        "GPU": {one.name: plain(one.device_seconds) for one in operators if one.device_seconds},
    }


def _system(run: Measured) -> dict[str, Any]:
    """What the machine did, from the first training step to the last."""
    network = _together(run, ("net.received", "net.sent")).sum(axis=0)
    read = {
        "Network": network,
        "GPU": np.concatenate([np.empty(0), *(run.training(gpu) for gpu in run.gpus)]),
        "CPU": run.training("cpu"),
        "CPU memory": run.training("memory"),
        "GPU memory": np.concatenate([np.empty(0), *(run.training(f"{gpu}.memory") for gpu in run.gpus)]),
        "I/O": run.training("cpu.iowait"),
    }
    told = {name: Distribution.of(values) for name, values in read.items()}
    return {name: {NODE: box.summary()} if box is not None else {} for name, box in told.items()}


def _outliers(run: Measured) -> dict[str, Any]:
    """The distribution of the seconds of steps; the outliers are as many of the longest as the rule counted."""
    table = run.profile.steps()
    box = Distribution.of(table.seconds)
    if box is None:
        return {"step_details": {}}
    count = _outlier_count(run)
    late = np.arange(_WARM_UP, len(table))
    longest = late[np.argsort(table.seconds[late], kind="stable")][len(late) - min(count, len(late)) :]
    outliers = {str(int(table.steps[place])): plain(table.seconds[place]) for place in np.sort(longest)}
    return {"step_details": {NODE: {"seconds": box.to_json(), "outliers": outliers}}}


def _outlier_count(run: Measured) -> int:
    return max((int(finding.value or 0) for finding in run.found("StepOutlier")), default=0)


def _initialised(run: Measured) -> int:
    return int(run.stages is not None)


def _with_workers(run: Measured) -> int:
    return _timed(run) if run.profile.machine.workers is not None else 0


_DETAILS: dict[str, Callable[[Measured], dict[str, Any]]] = {
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

_DATAPOINTS: dict[str, Callable[[Measured], int]] = {
    "BatchSize": lambda run: _looks(run, run.profile.devices()),
    "CPUBottleneck": lambda run: _looks(run, ["cpu"]),
    "Dataloader": _with_workers,
    "GPUMemoryIncrease": lambda run: _looks(run, [f"{gpu}.memory" for gpu in run.gpus]),
    "IOBottleneck": lambda run: _looks(run, ["cpu.iowait"]),
    "LoadBalancing": lambda run: _looks(run, run.gpus) if len(run.gpus) > 1 else 0,
    "LowGPUUtilization": lambda run: _looks(run, run.profile.devices()),
    "MaxInitializationTime": _initialised,
    "OverallFrameworkMetrics": _timed,
    "OverallSystemUsage": lambda run: _looks(run, ["cpu"]),
    "StepOutlier": _timed,
}

_VIOLATIONS: dict[str, Callable[[Measured], int]] = {
    "CPUBottleneck": lambda run: _cpu_bottleneck(run)["bottlenecks"].get("cpu") or len(run.found("CPUBottleneck")),
    "IOBottleneck": lambda run: _io_bottleneck(run)["bottlenecks"].get("cpu.iowait") or len(run.found("IOBottleneck")),
    "StepOutlier": _outlier_count,
}
