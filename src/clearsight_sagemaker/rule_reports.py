"""RuleReport: the verdict of one rule in the format of SageMaker's JSON. T gauge samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clearsight.core.finding import Finding, flags
from clearsight_sagemaker.run_profile import NODE, RunProfile

_REPORTERS = ("OverallFrameworkMetrics", "OverallSystemUsage")  # they never find anything
_BINS = 10  # of a histogram of use, 10 % each
_WARM_UP = 3  # steps at the start of a run that are never outliers, as in StepOutlier
_PERCENTILES = {"max": 100, "p99": 99, "p95": 95, "p75": 75, "p50": 50, "p25": 25, "p5": 5, "min": 0}


class ReportedRule(NamedTuple):
    """A rule in the report. description: the question that it answers.  recommendation: a general remedy.

    details, datapoints: of a run, as in RuleReport.
    """

    description: str
    recommendation: str
    details: Callable[[RunProfile], dict[str, Any]]
    datapoints: Callable[[RunProfile], int]


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleReport:
    """One rule of a report on a run.

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
    description: str
    recommendation: str

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
    return [_report(run, name, rule) for name, rule in RULES.items()]


def _report(run: RunProfile, name: str, rule: ReportedRule) -> RuleReport:
    found, details = run.found(name), rule.details(run)
    parameters = {} if name in _REPORTERS else run.parameters(name)
    return RuleReport(
        name=name,
        triggered=int(bool(found)),
        violations=_violations(run, name, details) if found else 0,
        details=details,
        datapoints=rule.datapoints(run) if name in _REPORTERS or _had_data(run, name) else 0,
        parameters="\n".join(
            f"{key}:{value:g}" if isinstance(value, float) else f"{key}:{value}" for key, value in parameters.items()
        ),
        description=rule.description,
        recommendation=recommendation(name, found),
    )


def _had_data(run: RunProfile, rule: str) -> bool:
    """Return True where a rule checked the run; in a job of the service, where it had anything to judge as well."""
    findings = run.findings.get(rule, ())
    return any(not run.whole_job or finding.points is None or finding.points.have > 0 for finding in findings)


def recommendation(rule: str, found: Sequence[Finding]) -> str:
    """Return the fix and the advice of the worst finding, else the general remedy."""
    if not found:
        return RULES[rule].recommendation
    worst = found[0]  # rules yield the worst finding first
    change = f"Set {flags(worst.fix)}." if worst.fix else ""
    return " ".join(part for part in (change, worst.advice) if part) or RULES[rule].recommendation


def _violations(run: RunProfile, rule: str, details: dict[str, Any]) -> int:
    """Return the data points that break a rule if they can be counted, else its findings."""
    if rule == "StepOutlier":
        return _outlier_count(run)
    main_bottleneck = next(iter(details.get("bottlenecks", {}).values()), 0)  # of all cores; single cores follow
    return main_bottleneck or len(run.found(rule))


def distribution(values: npt.ArrayLike) -> dict[str, float] | None:
    """Return maximum, percentiles and minimum of the finite values, in SageMaker's order; None without one."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return None
    return dict(zip(_PERCENTILES, map(round_digits, np.percentile(known, [*_PERCENTILES.values()])), strict=True))


def round_digits(value: float) -> float:
    """Round a measured number to the six digits that are written."""
    return float(f"{float(value):.6g}")


def _sample_count(run: RunProfile, gauges: Sequence[str]) -> int:
    """Return the number of samples during training of the gauge with the fewest; 0 without a gauge."""
    # A rule needs all of its gauges at once, so the one with the fewest samples bounds its data points.
    return min((len(run.training(gauge)) for gauge in gauges), default=0)


def _timed(run: RunProfile) -> int:
    return len(run.profile.steps())


def _boxes(run: RunProfile, gauges: Sequence[str]) -> dict[str, Any]:
    """Return the distribution during training of each gauge that was read."""
    boxes = {gauge: box for gauge in gauges if (box := distribution(run.training(gauge))) is not None}
    # SageMaker groups values by the machines of a job; here there is always one.
    return {NODE: boxes} if boxes else {}


def _batch_size(run: RunProfile) -> dict[str, Any]:
    # Without a GPU the processor is the device, and its memory that of the machine.
    return _boxes(run, ["cpu", *run.profile.devices(), *(_memories(run) or ["memory"])])


def _memories(run: RunProfile) -> list[str]:
    return [f"{gpu}.memory" for gpu in run.gpus]


def _bottleneck(run: RunProfile, rule: str, gauge: str, parameter: str, cores: Sequence[str] = ()) -> dict[str, Any]:
    """Count the samples with idle GPUs, and of these the ones with each gauge above a parameter of the rule."""
    # SageMaker's two bottleneck rules need a GPU; without one their reports are empty.
    if not run.gpus or gauge not in run.profile.gauges():
        return {"low_gpu_utilization": 0, "bottlenecks": {}}
    parameters, gauges = run.parameters(rule), (gauge, *cores)
    samples = run.joint_samples([*run.gpus, *gauges])
    idle = samples[: len(run.gpus)].mean(axis=0) < parameters["gpu_threshold"]
    high = samples[len(run.gpus) :] > parameters[parameter]
    counts = {name: int((high[place] & idle).sum()) for place, name in enumerate(gauges)}
    return {"low_gpu_utilization": int(idle.sum()), "bottlenecks": counts}


def _cpu_bottleneck(run: RunProfile) -> dict[str, Any]:
    cores = [name for name in run.profile.gauges() if name.startswith("cpu") and name[3:].isdecimal()]
    return _bottleneck(run, "CPUBottleneck", "cpu", "cpu_threshold", cores)


def _dataloader(run: RunProfile) -> dict[str, Any]:
    machine = run.profile.machine
    workers = {NODE: machine.workers} if machine.workers is not None else {}
    return {"cores": machine.cores or None, "dataloaders": workers}


def _balance(run: RunProfile) -> dict[str, Any]:
    """Return a histogram of the use of each GPU, in bins of 10 %, and the distance that the rule measured."""
    if len(run.gpus) < 2:
        return {}
    counts = {gpu: np.histogram(run.training(gpu), _BINS, (0, 100))[0].tolist() for gpu in run.gpus}
    # Findings that are clear hold the distance too, so the report shows it in any case.
    distance = max((f.value for f in run.findings.get("LoadBalancing", ()) if f.value is not None), default=None)
    return {"workloads": {NODE: counts}, "distance": distance}


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
    details = {
        "ratio": {name: 100 * seconds / whole for name, seconds in phases.items()} if whole else {},
        "phase": phases,
        "phase_time": {
            "initialization": stages.initialisation,
            "training_loop": stages.training,
            "finalization": stages.finalisation,
        },
        "stretches": span_seconds,  # the key under which reports list spans since the first version
        "CPU": {operator.name: operator.cpu_seconds for operator in operators if operator.cpu_seconds},
        "GPU": {operator.name: operator.device_seconds for operator in operators if operator.device_seconds},
    }
    return {key: {name: round_digits(value) for name, value in values.items()} for key, values in details.items()}


def _system(run: RunProfile) -> dict[str, Any]:
    """Return the use of the machine, from the first training step to the last."""
    values = {
        "Network": run.joint_samples(("net.received", "net.sent")).sum(axis=0),
        "GPU": np.concatenate([np.empty(0), *map(run.training, run.gpus)]),
        "CPU": run.training("cpu"),
        "CPU memory": run.training("memory"),
        "GPU memory": np.concatenate([np.empty(0), *map(run.training, _memories(run))]),
        "I/O": run.training("cpu.iowait"),
    }
    boxes = {name: distribution(column) for name, column in values.items()}
    listed = ("max", "p99", "p95", "p50", "min")
    return {name: {NODE: {point: box[point] for point in listed}} if box else {} for name, box in boxes.items()}


def _outliers(run: RunProfile) -> dict[str, Any]:
    """Return the distribution of step durations, and as many of the longest steps as the rule counted."""
    table = run.profile.steps()
    box = distribution(table.seconds)
    if box is None:
        return {"step_details": {}}
    count = _outlier_count(run)  # findings hold the number of the outliers, not the steps
    late = np.arange(_WARM_UP, len(table))
    longest = late[np.argsort(table.seconds[late], kind="stable")][len(late) - min(count, len(late)) :]
    outliers = {str(int(table.steps[place])): round_digits(table.seconds[place]) for place in np.sort(longest)}
    return {"step_details": {NODE: {"seconds": box, "outliers": outliers}}}


def _outlier_count(run: RunProfile) -> int:
    return max((int(finding.value or 0) for finding in run.found("StepOutlier")), default=0)


RULES = {
    "BatchSize": ReportedRule(
        "Is neither the processor nor the GPU nor its memory used to the full, so that a larger batch would fit?",
        "Train with a larger batch, or on a smaller machine.",
        details=_batch_size,
        datapoints=lambda run: _sample_count(run, run.profile.devices()),
    ),
    "CPUBottleneck": ReportedRule(
        "Are the cores fully used while the GPU waits for them?",
        "Reduce the work per image, or use a machine with more cores per GPU.",
        details=_cpu_bottleneck,
        datapoints=lambda run: _sample_count(run, ["cpu"]),
    ),
    "Dataloader": ReportedRule(
        "Are there too few or too many loader workers for the number of cores?",
        "Use about as many loader workers as there are cores.",
        details=_dataloader,
        datapoints=lambda run: _timed(run) if run.profile.machine.workers is not None else 0,
    ),
    "GPUMemoryIncrease": ReportedRule(
        "Does the memory in use on a GPU grow during training?",
        "Look for tensors that are kept from step to step, such as losses in a list together with their graph.",
        details=lambda run: _boxes(run, _memories(run)),
        datapoints=lambda run: _sample_count(run, _memories(run)),
    ),
    "IOBottleneck": ReportedRule(
        "Do the cores wait for the disk or the network while the GPU waits for them?",
        "Keep the images on a local disk or in memory, in few large files.",
        details=lambda run: _bottleneck(run, "IOBottleneck", "cpu.iowait", "io_threshold"),
        datapoints=lambda run: _sample_count(run, ["cpu.iowait"]),
    ),
    "LoadBalancing": ReportedRule(
        "Do the GPUs of one machine have different amounts of work?",
        "Split batches evenly, and look for work that is done on the first GPU only.",
        details=_balance,
        datapoints=lambda run: _sample_count(run, run.gpus) if len(run.gpus) > 1 else 0,
    ),
    "LowGPUUtilization": ReportedRule(
        "Is the device hardly used, or used with breaks?",
        "Find out what limits it: waiting for batches, steps with too little work, or checkpoints.",
        details=lambda run: _boxes(run, run.profile.devices()),
        datapoints=lambda run: _sample_count(run, run.profile.devices()),
    ),
    "MaxInitializationTime": ReportedRule(
        "Does it take long from the start of the job to its first step?",
        "Keep the results of the preparation: copied files, downloaded weights, compiled code.",
        details=_initialisation,
        datapoints=lambda run: int(run.stages is not None),
    ),
    "OverallFrameworkMetrics": ReportedRule(
        "It reports the phases of training steps and their durations.", "", details=_framework, datapoints=_timed
    ),
    "OverallSystemUsage": ReportedRule(
        "It reports the use of the machine.", "", details=_system, datapoints=lambda run: _sample_count(run, ["cpu"])
    ),
    "StepOutlier": ReportedRule(
        "Do some steps take much longer than the others?",
        "Find what these steps have in common: waiting for a batch, a checkpoint, or other work on the machine.",
        details=_outliers,
        datapoints=_timed,
    ),
}
