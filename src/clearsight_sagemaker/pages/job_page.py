"""Values of the page of a training job."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from clearsight_sagemaker.cloud.log_lines import lines_before
from clearsight_sagemaker.jobs.job_files import JobFiles
from clearsight_sagemaker.jobs.progress import JobProgress
from clearsight_sagemaker.resources.training_job_description import describe
from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.state.service_state import ServiceState
from clearsight_sagemaker.svg_charts import curve

_MOST_EVENTS = 4 << 20  # bytes from the end, in which the metrics of the charts are
_MOST_LOG = 64 << 10  # bytes
_MOST_POINTS, _MOST_CHARTS = 400, 12


def job_page(state: ServiceState, resource: Resource) -> dict[str, Any]:
    """Return what the template of a job shows."""
    folder, progress = state.training_jobs.folder(resource.name), state.training_jobs.progress(resource.name)
    description = describe(resource, progress, state.account)
    return {
        "job": description,
        "created": resource.created,
        "is_live": not progress.ended,
        "charts": [*_charts(folder, progress)],
        "rules": [*_rules(description)],
        "log": [line.message for line in lines_before(folder.log, None, _MOST_LOG)] if folder.log.exists() else [],
        "hyperparameters": {
            name: readable_value(value) for name, value in description.get("HyperParameters", {}).items()
        },
        "links": [*_links(description)],
    }


def _charts(folder: JobFiles, progress: JobProgress) -> Iterator[dict[str, Any]]:
    """Yield name, last value and curve of each metric."""
    series: dict[str, tuple[list[float], list[float]]] = {}
    size = folder.events.stat().st_size if folder.events.exists() else 0
    for event, _ in folder.read_events(max(0, size - _MOST_EVENTS)):
        if event["kind"] == "metric" and event.get("name") in progress.metrics:
            times, values = series.setdefault(event["name"], ([], []))
            times.append(float(event["time"]))
            values.append(float(event["value"]))
    for name, (value, _) in [*progress.metrics.items()][:_MOST_CHARTS]:
        times, values = series.get(name, ([], []))
        every = max(1, -(-len(values) // _MOST_POINTS))
        yield {"name": name, "value": value, "curve": curve(times[::every], values[::every], name)}


def _rules(description: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for kind in ("Debug", "Profiler"):
        for status in description.get(f"{kind}RuleEvaluationStatuses", []):
            yield {
                "name": status["RuleConfigurationName"],
                "kind": kind,
                "status": status["RuleEvaluationStatus"],
                "details": status["StatusDetails"] or "",
            }


def _links(description: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a word and an S3 address of what a job reads and writes, with the page of its folder."""
    for channel in description.get("InputDataConfig") or []:
        source = channel["DataSource"].get("S3DataSource", {})
        yield f"input {channel['ChannelName']}", source.get("S3Uri", "")
    yield "model", description["ModelArtifacts"]["S3ModelArtifacts"]
    for name, member in (("debugger output", "DebugHookConfig"), ("profiler output", "ProfilerConfig")):
        if root := description.get(member, {}).get("S3OutputPath"):
            yield name, f"{root.rstrip('/')}/{description['TrainingJobName']}/{name.replace(' ', '-')[:-7]}-output/"


def readable_value(value: str) -> str:
    """Return a hyperparameter without the quotes of JSON that the SDK puts around texts."""
    try:
        decoded = json.loads(value)
    except ValueError:
        return value
    return decoded if isinstance(decoded, str) else value
