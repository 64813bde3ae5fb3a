"""Metrics of trial components: those that clients put, a file for each component, and those of jobs."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clearsight.core.files import read_jsonl
from clearsight_sagemaker.experiments.entities import TRIAL_COMPONENT
from clearsight_sagemaker.protocols.errors import ServiceError, validation_error
from clearsight_sagemaker.protocols.json_protocol import seconds_of
from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.state.service_state import TRAINING_JOB, Operation, ServiceState

_PERIODS = {"OneMinute": 60, "FiveMinute": 300, "OneHour": 3600}  # seconds
_OLDEST, _NEWEST = 14 * 86_400, 2 * 3600  # seconds before and after now that a time may be, as in SageMaker
_STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {
    "Min": min,
    "Max": max,
    "Avg": statistics.fmean,
    "Count": len,
    "StdDev": statistics.pstdev,
    "Last": lambda values: values[-1],
}


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """A value of a metric. time: seconds since 1970.  step: None where none was given."""

    time: float
    value: float
    step: int | None = None


def batch_put_metrics(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Append values to the metrics of a component; return those that are refused."""
    name = _component_name(state, request["TrialComponentName"])
    now = time.time()
    points, errors = list[tuple[str, MetricPoint]](), []
    for number, datum in enumerate(request["MetricData"]):
        moment = seconds_of(datum, "Timestamp") or now
        if now - _OLDEST <= moment <= now + _NEWEST:
            points.append((datum["MetricName"], MetricPoint(moment, float(datum["Value"]), datum.get("Step"))))
        else:
            errors.append({"Code": "VALIDATION_ERROR", "MetricIndex": number})
    _append(state, name, points)
    return {"Errors": errors or None}


def keep_job_metrics(state: ServiceState, row: Resource) -> None:
    """Write the metrics of a job into the file of its component, before the job is deleted. row: of the component."""
    _append(state, row.name, list(_job_points(state, row)))


def _append(state: ServiceState, name: str, points: Sequence[tuple[str, MetricPoint]]) -> None:
    folder = state.home.component_metrics
    folder.mkdir(exist_ok=True)
    lines = [json.dumps({"name": metric, **asdict(point)}) + "\n" for metric, point in points]
    with state.file_lock, (folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
        file.write("".join(lines))


def batch_get_metrics(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return statistics of metrics, by step or by time."""
    return {"MetricQueryResults": [_query_result(state, query) for query in request["MetricQueries"]]}


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("sagemaker-metrics", "BatchPutMetrics"): batch_put_metrics,
    ("sagemaker-metrics", "BatchGetMetrics"): batch_get_metrics,
}


def metric_summaries(state: ServiceState, row: Resource) -> list[dict[str, Any]]:
    """Return the statistics of each metric of a component. row: of the component."""
    source = (row.document.get("source") or {}).get("SourceArn", row.document["arn"])
    return [
        {
            "MetricName": name,
            "SourceArn": source,
            "TimeStamp": points[-1].time,
            **{word: function([point.value for point in points]) for word, function in _STATISTICS.items()},
        }
        for name, points in sorted(_metrics(state, row).items())
    ]


def _metrics(state: ServiceState, row: Resource) -> dict[str, list[MetricPoint]]:
    """Return the values of each metric of a component, in the order of their times."""
    found: dict[str, list[MetricPoint]] = {}
    for name, point in (*_job_points(state, row), *_put_points(state, row.name)):
        found.setdefault(name, []).append(point)
    for points in found.values():
        points.sort(key=lambda point: point.time)
    return found


def _job_points(state: ServiceState, row: Resource) -> Iterator[tuple[str, MetricPoint]]:
    job = row.document.get("job") or {}
    if job.get("kind") != TRAINING_JOB:
        return
    for event, _ in state.training_jobs.folder(job["name"]).read_events(0):
        value = event.get("value")
        if event["kind"] == "metric" and isinstance(value, int | float) and math.isfinite(value):
            yield str(event.get("name")), MetricPoint(event["time"], float(value))


def _put_points(state: ServiceState, name: str) -> Iterator[tuple[str, MetricPoint]]:
    for line in read_jsonl(state.home.component_metrics / f"{name}.jsonl"):
        yield line["name"], MetricPoint(line["time"], float(line["value"]), line["step"])


def _component_name(state: ServiceState, name: str) -> str:
    """Return the name of a component as it was created: SDKs send it in lower case. Raises ServiceError."""
    if state.table.get(TRIAL_COMPONENT, name) is not None:
        return name
    for row in state.table.every(TRIAL_COMPONENT):
        if row.name.lower() == name:
            return row.name
    raise validation_error(f"Trial component '{name}' does not exist.")


def _query_result(state: ServiceState, query: Mapping[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {"XAxisValues": [], "MetricValues": []}
    try:
        row = _component_of(state, query["ResourceArn"])
    except ServiceError as error:
        return {"Status": "ValidationError", "Message": error.message, **empty}
    by_step = query["XAxisType"] == "IterationNumber"
    if by_step != (query["Period"] == "IterationNumber"):
        message = f"Period {query['Period']} does not fit XAxisType {query['XAxisType']}."
        return {"Status": "ValidationError", "Message": message, **empty}
    places: dict[int, list[float]] = {}
    for point in _metrics(state, row).get(query["MetricName"], []):
        period = _PERIODS.get(query["Period"], 1)
        place = point.step if by_step else int(point.time // period) * period
        if place is not None and query.get("Start", place) <= place <= query.get("End", place):
            places.setdefault(place, []).append(point.value)
    function = _STATISTICS[query["MetricStat"]]
    values = [float(function(places[place])) for place in sorted(places)]
    return {"Status": "Complete", "XAxisValues": sorted(places), "MetricValues": values}


def _component_of(state: ServiceState, arn: str) -> Resource:
    """Return the component of an ARN, its own or that of its job. Raises ServiceError."""
    for row in state.table.every(TRIAL_COMPONENT):
        source = (row.document.get("source") or {}).get("SourceArn", "")
        if arn.lower() in (row.document["arn"].lower(), source.lower()):
            return row
    raise validation_error(f"{arn} has no metrics.")
