"""The page of a profiled job: one HTML file, with the sections of SageMaker's profiling report and in their order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clearsight.core.machine import installed
from clearsight_sagemaker.distribution import Distribution
from clearsight_sagemaker.drawings import boxes, columns, histogram, shares
from clearsight_sagemaker.measured import NODE, Measured
from clearsight_sagemaker.rule_reports import RuleReport
from clearsight_sagemaker.rule_words import WORDS, recommendation

_OPERATORS = 20  # of the table: the rest costs little


def profiler_page(run: Measured, reports: Sequence[RuleReport]) -> str:
    """The page as HTML: it holds no script and asks nothing of the network."""
    by_name = {report.name: report for report in reports}
    return (
        _environment()
        .get_template("profiler_report.html")
        .render(
            name=run.name,
            version=installed("clearsight") or "",
            summary=_summary(run),
            system=_system(by_name["OverallSystemUsage"]),
            framework=_framework(run, by_name["OverallFrameworkMetrics"]),
            rules=_rules(run, reports),
            sentence=_sentence(reports),
            analysis=_analysis(run, by_name),
        )
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("clearsight_sagemaker"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _summary(run: Measured) -> dict[str, Any] | None:
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
        "start": _when(stages.start),
        "end": _when(stages.end),
        "seconds": whole,
        "parts": [(name, took, 100 * took / whole if whole else 0.0) for name, took in parts.items()],
        "chart": shares(parts),
    }


def _system(report: RuleReport) -> list[tuple[str, str, dict[str, float]]]:
    """Rows of node, metric and percentiles, of what was read."""
    return [(node, metric, box) for metric, nodes in report.details.items() for node, box in nodes.items()]


def _framework(run: Measured, report: RuleReport) -> dict[str, Any] | None:
    details, profile = report.details, run.profile
    if not details:
        return None
    modes = {"TRAIN": float(profile.steps().seconds.sum()), "EVAL": details["stretches"].get("validation", 0.0)}
    passes = {name: details["phase"][name] for name in ("forward", "backward") if name in details["phase"]}
    operators = profile.trace.operators if profile.trace else ()
    whole_cpu = sum(one.cpu_seconds for one in operators) or 1.0
    whole_gpu = sum(one.device_seconds for one in operators) or 1.0
    costly = sorted(operators, key=lambda one: -(one.device_seconds or one.cpu_seconds))[:_OPERATORS]
    return {
        "modes": shares(modes),
        "passes": shares(passes),
        "phases": shares(details["phase"]),
        "operators": [
            (one.name, one.calls, 100 * one.cpu_seconds / whole_cpu, 100 * one.device_seconds / whole_gpu)
            for one in costly
        ],
    }


def _rules(run: Measured, reports: Sequence[RuleReport]) -> list[dict[str, Any]]:
    """Rows of the summary, those that were triggered first."""
    ordered = sorted(reports, key=lambda report: -report.triggered)
    return [
        {
            "report": report,
            "description": WORDS[report.name].description,
            "recommendation": recommendation(report.name, run.found(report.name)),
        }
        for report in ordered
    ]


def _sentence(reports: Sequence[RuleReport]) -> str:
    most = max(reports, key=lambda report: (report.triggered, report.datapoints))
    if not most.triggered:
        return "During your training job, no rule was triggered."
    return (
        f"During your training job, the {most.name} rule was the most frequently triggered. It processed "
        f"{most.datapoints} datapoints and was triggered {most.triggered} times."
    )


def _analysis(run: Measured, by_name: dict[str, RuleReport]) -> list[dict[str, Any]]:
    """Parts of the analysis in order: title, what the rules said, and charts with their titles."""
    details = {name: report.details for name, report in by_name.items()}
    steps = [("", histogram(run.profile.steps().seconds, "s"))]
    parts: list[tuple[str, tuple[str, ...], list[tuple[str, Markup]]]] = [
        ("Step duration analysis", ("StepOutlier",), steps),
        ("GPU utilization analysis", ("LowGPUUtilization", "LoadBalancing"), _gpus(details)),
        ("Dataloading analysis", ("Dataloader",), [("", _readers(run))]),
        ("Batch size", ("BatchSize",), [("", _boxes(details["BatchSize"]))]),
        ("CPU bottlenecks", ("CPUBottleneck",), [("", _idle(run, by_name["CPUBottleneck"]))]),
        ("I/O bottlenecks", ("IOBottleneck",), [("", _idle(run, by_name["IOBottleneck"]))]),
        ("GPU memory", ("GPUMemoryIncrease",), [("", _boxes(details["GPUMemoryIncrease"]))]),
    ]
    return [
        {"title": title, "said": [line for rule in rules for line in _said(run, by_name[rule])], "charts": charts}
        for title, rules, charts in parts
    ]


def _readers(run: Measured) -> Markup:
    """How many readers prepared batches; "" where that is not known."""
    machine = run.profile.machine
    if machine.workers is None:
        return Markup("")
    of = f" on {machine.cores} cores" if machine.cores else ""
    return Markup("<p>Readers of batches: {}{}.</p>").format(machine.workers, of)


def _gpus(details: dict[str, dict[str, Any]]) -> list[tuple[str, Markup]]:
    usage = {"Usage per GPU": _boxes(details["LowGPUUtilization"])}
    loads = details["LoadBalancing"].get("workloads", {}).get(NODE, {})
    balance = [
        (f"Workload balancing: {gpu}", columns(counts, np.linspace(0, 100, len(counts) + 1).tolist(), "%"))
        for gpu, counts in loads.items()
    ]
    return [*usage.items(), *(balance or [("Workload balancing", Markup(""))])]


def _boxes(details: dict[str, Any]) -> Markup:
    return boxes({name: Distribution(**box) for name, box in details.get(NODE, {}).items()})


def _idle(run: Measured, report: RuleReport) -> Markup:
    """Looks at which the GPUs idled beside those at which they did not, and, of the idle ones, those with a cause."""
    idle = report.details["low_gpu_utilization"]
    if not run.gpus or not report.datapoints:
        return Markup("")
    caught = next(iter(report.details["bottlenecks"].values()), 0)
    used = {"GPU in use": report.datapoints - idle, "GPU idle": idle}
    return shares(used, "looks") + shares({"bottleneck": caught, "other reasons": idle - caught}, "looks")


def _said(run: Measured, report: RuleReport) -> list[str]:
    """What a rule said of this run, a sentence each."""
    findings = run.findings.get(report.name, ())
    if not findings:
        return [f"{report.name} was not asked."]
    if report.triggered:
        return [f"{report.name}: {finding.cause}." for finding in run.found(report.name)]
    if any(finding.verdict.value == "clear" for finding in findings):
        return [f"{report.name} found nothing."]
    return [f"{report.name} could not tell: {findings[0].cause}."]


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
