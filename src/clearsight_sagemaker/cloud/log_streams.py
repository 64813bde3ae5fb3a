"""Groups and streams of logs: of which job or model server a file is. Deleted streams are remembered; files stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clearsight_sagemaker.cloud.log_lines import lines_before, lines_from
from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.state.resource_table import Resource, ResourceExists
from clearsight_sagemaker.state.service_state import PROCESSING_JOB, TRAINING_JOB, TRANSFORM_JOB, ServiceState

TRAINING_GROUP = "/aws/sagemaker/TrainingJobs"
PROCESSING_GROUP = "/aws/sagemaker/ProcessingJobs"
TRANSFORM_GROUP = "/aws/sagemaker/TransformJobs"
ENDPOINTS_GROUP = "/aws/sagemaker/Endpoints"  # with the name of the endpoint after it
_KINDS = {
    TRAINING_GROUP: TRAINING_JOB,
    PROCESSING_GROUP: PROCESSING_JOB,
    TRANSFORM_GROUP: TRANSFORM_JOB,
}  # group -> kind of the jobs whose logs it has
_TRANSFORM_INSTANCE = "i-local"  # streams of transform jobs have the name of an instance in the place of a host
_DELETED = "deleted-log-stream"
_LAST_BYTES = 512 << 10  # in which the last line is found


@dataclass(frozen=True, kw_only=True)
class LogStream:
    """A stream of a group. created: seconds since 1970.  path: its file."""

    group: str
    name: str
    created: float
    path: Path

    def first_and_last(self) -> tuple[int | None, int | None]:
        """Return the times of the first and the last line in milliseconds, None for an empty file."""
        first = next(lines_from(self.path, 0), None)
        last = lines_before(self.path, None, _LAST_BYTES)
        return first.timestamp if first else None, last[-1].timestamp if last else None


def group_names(state: ServiceState) -> list[str]:
    """Return the groups that jobs and endpoints may have."""
    endpoints = (f"{ENDPOINTS_GROUP}/{path.parent.name}" for path in state.home.endpoints.glob("*/logs"))
    return sorted([*_KINDS, *endpoints])


def streams(state: ServiceState, group: str, prefix: str = "") -> Iterator[LogStream]:
    """Yield the streams of a group whose names have a prefix, by name; raises ServiceError for another group."""
    if group in _KINDS:
        found = _job_streams(state, group, prefix)
    elif group.startswith(f"{ENDPOINTS_GROUP}/"):
        found = _endpoint_streams(state, group)
    else:
        raise no_such_group()
    deleted = {resource.name for resource in state.table.every(_DELETED)}
    for source in found:
        is_there = source.name.startswith(prefix) and source.path.is_file()
        if is_there and f"{group}:{source.name}" not in deleted:
            yield source


def stream(state: ServiceState, group: str, name: str) -> LogStream:
    """Return a stream; raises ServiceError."""
    found = next((found for found in streams(state, group, name) if found.name == name), None)
    if found is None:
        raise ServiceError("ResourceNotFoundException", "The specified log stream does not exist.")
    return found


def delete(state: ServiceState, deleted: LogStream) -> None:
    """Let a stream be gone. The file in the folder of the job stays."""
    name = f"{deleted.group}:{deleted.name}"
    try:
        state.table.add(Resource(kind=_DELETED, name=name, status="", document={}))
    except ResourceExists:
        return  # somebody else has deleted it at the same moment


def no_such_group() -> ServiceError:
    return ServiceError("ResourceNotFoundException", "The specified log group does not exist.")


def _job_streams(state: ServiceState, group: str, prefix: str) -> Iterator[LogStream]:
    host = _TRANSFORM_INSTANCE if group == TRANSFORM_GROUP else "algo-1"
    for resource in _jobs(state, _KINDS[group], prefix):
        yield LogStream(
            group=group,
            name=f"{resource.name}/{host}-{int(resource.created)}",
            created=resource.created,
            path=state.queues[_KINDS[group]].folder(resource.name).log,
        )


def _endpoint_streams(state: ServiceState, group: str) -> Iterator[LogStream]:
    """Yield the logs of the model servers of an endpoint, VARIANT/INSTANCE; they outlive it."""
    name = group.removeprefix(f"{ENDPOINTS_GROUP}/")
    if not name.replace("-", "").isalnum():  # no endpoint has such a name, and a path could be one
        return
    for path in sorted((state.home.endpoints / name / "logs").glob("*/*.txt")):
        first = next(lines_from(path, 0), None)
        created = first.timestamp / 1000 if first is not None else path.stat().st_mtime
        yield LogStream(group=group, name=f"{path.parent.name}/{path.stem}", created=created, path=path)


def _jobs(state: ServiceState, kind: str, prefix: str) -> list[Resource]:
    """Return the jobs whose streams may have a prefix, by name."""
    name, slash, _ = prefix.partition("/")
    if slash:
        resource = state.table.get(kind, name)
        return [resource] if resource is not None else []
    return sorted(state.table.every(kind), key=lambda resource: resource.name)
