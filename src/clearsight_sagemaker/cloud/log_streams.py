"""Groups and streams of logs: which job's file a stream is. Deleted streams are remembered; the files stay."""

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
_KINDS = {
    TRAINING_GROUP: TRAINING_JOB,
    PROCESSING_GROUP: PROCESSING_JOB,
    TRANSFORM_GROUP: TRANSFORM_JOB,
}  # group -> kind of the jobs whose logs it has
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


def group_names() -> list[str]:
    """Return the groups that jobs may have."""
    return sorted(_KINDS)


def streams(state: ServiceState, group: str, prefix: str = "") -> Iterator[LogStream]:
    """Yield the streams of a group whose names have a prefix, by name; raises ServiceError for another group."""
    if group not in _KINDS:
        raise no_such_group()
    deleted = {resource.name for resource in state.table.every(_DELETED)}
    for resource in _jobs(state, _KINDS[group], prefix):
        stream = LogStream(
            group=group,
            name=f"{resource.name}/algo-1-{int(resource.created)}",
            created=resource.created,
            path=state.queues[_KINDS[group]].folder(resource.name).log,
        )
        is_there = stream.name.startswith(prefix) and stream.path.is_file()
        if is_there and f"{group}:{stream.name}" not in deleted:
            yield stream


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


def _jobs(state: ServiceState, kind: str, prefix: str) -> list[Resource]:
    """Return the jobs whose streams may have a prefix, by name."""
    name, slash, _ = prefix.partition("/")
    if slash:
        resource = state.table.get(kind, name)
        return [resource] if resource is not None else []
    return sorted(state.table.every(kind), key=lambda resource: resource.name)
