"""CloudWatch: metrics of training jobs, from their events, those of endpoints, and those that clients put."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clearsight.core.files import read_jsonl
from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.protocols.json_protocol import seconds_of
from clearsight_sagemaker.state.service_state import TRAINING_JOB, Operation, ServiceState

_TRAINING = "/aws/sagemaker/TrainingJobs"
_MOST_POINTS = 1440
_PAGE = 500
_MINUTE = 60  # seconds


@dataclass(frozen=True, kw_only=True)
class MetricSample:
    """Values of a metric at a time. count: of values.  total, low, high: their sum and range."""

    time: float
    count: float
    total: float
    low: float
    high: float
    unit: str = "None"


def put_metric_data(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Append samples to the file of metrics."""
    lines = []
    for datum in request.get("MetricData", []):
        sample = _sample_of(datum)
        row = {
            "namespace": request["Namespace"],
            "name": datum["MetricName"],
            "unit": datum.get("Unit", "None"),
            "dimensions": _dimensions(datum),
            **{name: getattr(sample, name) for name in ("time", "count", "total", "low", "high")},
        }
        lines.append(json.dumps(row) + "\n")
    with state.file_lock, state.home.metrics.open("a", encoding="utf-8") as file:
        file.write("".join(lines))


def get_metric_statistics(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return statistics of a metric for each period between two times."""
    start, end, period = seconds_of(request, "StartTime"), seconds_of(request, "EndTime"), request["Period"]
    if start is None or end is None or start >= end:
        raise ServiceError("InvalidParameterValue", "The parameter StartTime must be less than the parameter EndTime.")
    if (end - start) / period > _MOST_POINTS:
        text = f"You have requested up to {math.ceil((end - start) / period)} datapoints, which exceeds the limit of"
        raise ServiceError("InvalidParameterCombination", f"{text} {_MOST_POINTS}.")
    if request.get("ExtendedStatistics"):
        raise ServiceError("InvalidParameterValue", "The local service has no ExtendedStatistics. Leave them out.")
    start = start // min(period, _MINUTE) * min(period, _MINUTE)  # as CloudWatch does with recent times
    samples: dict[float, list[MetricSample]] = defaultdict(list)
    for sample in _samples(state, request["Namespace"], request["MetricName"], _dimensions(request)):
        if start <= sample.time < end and request.get("Unit", sample.unit) == sample.unit:
            samples[sample.time // period * period].append(sample)
    statistics = request.get("Statistics", [])
    points = [_point(moment, found, statistics) for moment, found in sorted(samples.items())]
    return {"Label": request["MetricName"], "Datapoints": points}


def list_metrics(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of the metrics that there are."""
    namespace_filter, name = request.get("Namespace"), request.get("MetricName")
    filters = request.get("Dimensions", [])

    def fits(metric: tuple[str, str, tuple[tuple[str, str], ...]]) -> bool:
        dimensions = dict(metric[2])
        has_all = all(
            part.get("Value", dimensions.get(part["Name"])) == dimensions.get(part["Name"], "") for part in filters
        )
        return namespace_filter in (None, metric[0]) and name in (None, metric[1]) and has_all

    found = [metric for metric in sorted({*_every_metric(state)}) if fits(metric)]
    token = request.get("NextToken", "0")
    if not token.isdecimal():
        raise ServiceError("InvalidParameterValue", "The NextToken is not one that this service returned.")
    end = int(token) + _PAGE
    page = [
        {
            "Namespace": namespace,
            "MetricName": metric,
            "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
        }
        for namespace, metric, dimensions in found[int(token) : end]
    ]
    return {"Metrics": page, "NextToken": str(end) if end < len(found) else None}


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("cloudwatch", "PutMetricData"): put_metric_data,
    ("cloudwatch", "GetMetricStatistics"): get_metric_statistics,
    ("cloudwatch", "ListMetrics"): list_metrics,
}


def _dimensions(values: Mapping[str, Any]) -> dict[str, str]:
    return {part["Name"]: part["Value"] for part in values.get("Dimensions", [])}


def _sample_of(datum: Mapping[str, Any]) -> MetricSample:
    moment = seconds_of(datum, "Timestamp") or time.time()
    if "StatisticValues" in datum:
        values = datum["StatisticValues"]
        low, high = values["Minimum"], values["Maximum"]
        return MetricSample(time=moment, count=values["SampleCount"], total=values["Sum"], low=low, high=high)
    numbers = datum.get("Values") or ([datum["Value"]] if "Value" in datum else [])
    counts = datum.get("Counts") or [1.0] * len(numbers)
    if not numbers or len(counts) != len(numbers):
        text = f"The metric {datum['MetricName']!r} must have Value, StatisticValues, or as many Counts as Values."
        raise ServiceError("InvalidParameterCombination", text)
    total = sum(number * count for number, count in zip(numbers, counts, strict=True))
    return MetricSample(time=moment, count=sum(counts), total=total, low=min(numbers), high=max(numbers))


def _samples(state: ServiceState, namespace: str, name: str, dimensions: dict[str, str]) -> Iterator[MetricSample]:
    if namespace == _TRAINING and dimensions.keys() == {"TrainingJobName"}:
        for event, _ in state.training_jobs.folder(_plain(dimensions["TrainingJobName"])).read_events(0):
            value = event.get("value")
            if event["kind"] == "metric" and event.get("name") == name and isinstance(value, int | float):
                yield MetricSample(time=event["time"], count=1, total=value, low=value, high=value)
    state.endpoints.metrics.flush()
    for row in read_jsonl(state.home.metrics):
        if (row["namespace"], row["name"], row["dimensions"]) == (namespace, name, dimensions):
            values = {key: row[key] for key in ("time", "count", "total", "low", "high", "unit")}
            yield MetricSample(**values)


def _plain(name: str) -> str:
    """Return a job's name as it can be that of a folder; no job has another one."""
    return name if name.replace("-", "").isalnum() and name.isascii() else "-"


def _point(moment: float, samples: list[MetricSample], statistics: list[str]) -> dict[str, Any]:
    count, total = sum(sample.count for sample in samples), sum(sample.total for sample in samples)
    values = {
        "SampleCount": count,
        "Average": total / count if count else 0.0,
        "Sum": total,
        "Minimum": min(sample.low for sample in samples),
        "Maximum": max(sample.high for sample in samples),
    }
    return {"Timestamp": moment, "Unit": samples[0].unit, **{name: values[name] for name in statistics}}


def _every_metric(state: ServiceState) -> Iterator[tuple[str, str, tuple[tuple[str, str], ...]]]:
    for resource in state.table.every(TRAINING_JOB):
        for name in state.training_jobs.progress(resource.name).metrics:
            yield _TRAINING, name, (("TrainingJobName", resource.name),)
    state.endpoints.metrics.flush()
    for row in read_jsonl(state.home.metrics):
        yield row["namespace"], row["name"], tuple(sorted(row["dimensions"].items()))
