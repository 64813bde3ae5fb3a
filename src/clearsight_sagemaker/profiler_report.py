"""The output of SageMaker's ProfilerReport, made from a run of clearsight: a page, and the JSON of each rule.

The page is one HTML file with the sections of SageMaker's profiling report, in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clearsight.core.files import write_json, write_text
from clearsight.core.machine import installed
from clearsight_sagemaker.rule_reports import RuleReport, rule_reports
from clearsight_sagemaker.run_profile import NODE, RunProfile, read_run
from clearsight_sagemaker.svg_charts import boxes, columns, histogram, shares

_MAX_OPERATORS = 20  # rows of the table: the rest costs little


def write_profiler_output(run: Path, out: Path) -> Path:
    """Write the files of SageMaker's ProfilerReport into `out` and return their folder, `out/profiler-output`.

    run: a run folder with profile/ and findings.jsonl, of clearsight's training or of a profiled script.
    profiler-report.html is the page, profiler-reports/{rule}.json each of the eleven rules; old files are replaced.
    Raises NotFound if there is no run in the folder, BadData or BadValue if it is damaged, DiskFull without room.
    """
    profile = read_run(run)
    reports = rule_reports(profile)
    folder = out / "profiler-output"
    for report in reports:
        write_json(folder / "profiler-reports" / f"{report.name}.json", report.to_json())
    write_text(folder / "profiler-report.html", profiler_page(profile, reports))
    return folder


def profiler_page(run: RunProfile, reports: Sequence[RuleReport]) -> str:
    """Render the page as HTML, without scripts and without requests to the network."""
    by_name = {report.name: report for report in reports}
    environment = Environment(
        loader=PackageLoader("clearsight_sagemaker"),
        autoescape=True,  # names of runs and operators are the user's
        undefined=StrictUndefined,  # a misspelt name in the template is an error, not an empty cell
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("profiler_report.html").render(
        name=run.name,
        version=installed("clearsight") or "",
        summary=_summary(run),
        period="From the start of the job to its end" if run.whole_job else "From the first training step to the last",
        system={metric: nodes for metric, nodes in by_name["OverallSystemUsage"].details.items() if nodes},
        framework=_framework(run, by_name["OverallFrameworkMetrics"].details),
        rules=sorted(reports, key=lambda report: -report.triggered),
        sentence=_sentence(reports),
        analysis=_analysis(run, by_name),
    )


def _summary(run: RunProfile) -> dict[str, Any] | None:
    stages = run.stages
    if stages is None:
        return None
    parts = {
        "Initialization": stages.initialisation,
        "Training loop": stages.training,
        "Finalization": stages.finalisation,
    }
    whole = stages.end - stages.start
    return {
        "start": _utc(stages.start),
        "end": _utc(stages.end),
        "seconds": whole,
        "parts": [(name, seconds, 100 * seconds / whole if whole else 0.0) for name, seconds in parts.items()],
        "chart": shares(parts),
    }


def _framework(run: RunProfile, details: dict[str, Any]) -> dict[str, Any] | None:
    if not details:
        return None
    profile = run.profile
    modes = {"TRAIN": float(profile.steps().seconds.sum()), "EVAL": details["stretches"].get("validation", 0.0)}
    directions = {name: details["phase"][name] for name in ("forward", "backward") if name in details["phase"]}
    operators = profile.trace.operators if profile.trace else ()
    # Shares of 0 where an operator or the GPU was not timed, instead of a division by 0.
    whole_cpu = sum(operator.cpu_seconds for operator in operators) or 1.0
    whole_gpu = sum(operator.device_seconds for operator in operators) or 1.0
    # Without GPU times the table is sorted by the processor's.
    costliest = sorted(operators, key=lambda operator: -(operator.device_seconds or operator.cpu_seconds))
    return {
        "modes": shares(modes),
        "passes": shares(directions),
        "phases": shares(details["phase"]),
        "operators": [
            (op.name, op.calls, 100 * op.cpu_seconds / whole_cpu, 100 * op.device_seconds / whole_gpu)
            for op in costliest[:_MAX_OPERATORS]
        ],
    }


def _sentence(reports: Sequence[RuleReport]) -> str:
    # SageMaker's own sentences, word for word: notebooks may look for them.
    most = max(reports, key=lambda report: (report.triggered, report.datapoints))
    if not most.triggered:
        return "During your training job, no rule was triggered."
    return (
        f"During your training job, the {most.name} rule was the most frequently triggered. It processed "
        f"{most.datapoints} datapoints and was triggered {most.triggered} times."
    )


def _analysis(run: RunProfile, by_name: dict[str, RuleReport]) -> list[tuple[str, list[str], list[tuple[str, Markup]]]]:
    """Return the parts of the analysis in order: title, verdicts of the rules, and charts with their titles."""
    details = {name: report.details for name, report in by_name.items()}
    steps = [("", histogram(run.profile.steps().seconds, "s"))]
    parts: list[tuple[str, tuple[str, ...], list[tuple[str, Markup]]]] = [
        ("Step duration analysis", ("StepOutlier",), steps),
        ("GPU utilization analysis", ("LowGPUUtilization", "LoadBalancing"), _gpus(details)),
        ("Dataloading analysis", ("Dataloader",), [("", _loader_workers(run))]),
        ("Batch size", ("BatchSize",), [("", boxes(details["BatchSize"].get(NODE, {})))]),
        ("CPU bottlenecks", ("CPUBottleneck",), [("", _idle(run, by_name["CPUBottleneck"]))]),
        ("I/O bottlenecks", ("IOBottleneck",), [("", _idle(run, by_name["IOBottleneck"]))]),
        ("GPU memory", ("GPUMemoryIncrease",), [("", boxes(details["GPUMemoryIncrease"].get(NODE, {})))]),
    ]
    return [
        (title, [line for rule in rules for line in _verdicts(run, by_name[rule])], charts)
        for title, rules, charts in parts
    ]


def _loader_workers(run: RunProfile) -> Markup:
    """Return the number of loader workers; "" if unknown."""
    machine = run.profile.machine
    if machine.workers is None:
        return Markup("")
    cores = f" on {machine.cores} cores" if machine.cores else ""
    return Markup("<p>Loader workers: {}{}.</p>").format(machine.workers, cores)


def _gpus(details: dict[str, dict[str, Any]]) -> list[tuple[str, Markup]]:
    loads = details["LoadBalancing"].get("workloads", {}).get(NODE, {})
    balance = [
        (f"Workload balancing: {gpu}", columns(counts, np.linspace(0, 100, len(counts) + 1).tolist(), "%"))
        for gpu, counts in loads.items()
    ]
    usage = boxes(details["LowGPUUtilization"].get(NODE, {}))
    return [("Usage per GPU", usage), *(balance or [("Workload balancing", Markup(""))])]


def _idle(run: RunProfile, report: RuleReport) -> Markup:
    """Draw the samples with idle and with busy GPUs and, of the idle ones, those that the bottleneck explains."""
    idle = report.details["low_gpu_utilization"]
    if not run.gpus or not report.datapoints:
        return Markup("")
    # The first gauge is that of the whole machine; single cores follow.
    bottleneck = next(iter(report.details["bottlenecks"].values()), 0)
    used = {"GPU in use": report.datapoints - idle, "GPU idle": idle}
    return shares(used, "samples") + shares({"bottleneck": bottleneck, "other reasons": idle - bottleneck}, "samples")


def _verdicts(run: RunProfile, report: RuleReport) -> list[str]:
    """Return the verdicts of a rule on this run, one sentence each."""
    findings = run.findings.get(report.name, ())
    if not findings:
        return [f"{report.name} did not check this run."]
    if report.triggered:
        return [f"{report.name}: {finding.cause}." for finding in run.found(report.name)]
    if any(finding.verdict.value == "clear" for finding in findings):
        return [f"{report.name} found nothing."]
    return [f"{report.name} had not enough data: {findings[0].cause}."]


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
