"""Files that a job finds in /opt/ml when it begins."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight_sagemaker.training.channels import Channel
from clearsight_sagemaker.training.failure import client_error
from clearsight_sagemaker.training.job_folder import CONTAINER_ML, JobFolder
from clearsight_sagemaker.training.objects import join_uri

HOST = "algo-1"
GROUP = "homogeneousCluster"
_FOLDERS = ("input/config", "input/data", "model", "output/data", "output/metrics/sagemaker", "code")


@dataclass(frozen=True, kw_only=True, slots=True)
class SyncedFolder:
    """A folder of a job that is uploaded while the job runs. container: its path as jobs know it.

    restored: True where objects are put into it before the job begins.
    """

    name: str
    container: str
    uri: str
    restored: bool = False


def synced_folders(request: Mapping[str, Any], intermediate: object) -> list[SyncedFolder]:
    """Return the folders of a request that are uploaded during the job.

    intermediate: value of the hyperparameter sagemaker_s3_output. Raises JobFailed for a LocalPath outside /opt/ml.
    """
    job = request["TrainingJobName"]
    folders = []
    # section of the request, default LocalPath, folder of the results below the job
    for section, default, results in (
        ("DebugHookConfig", "output/tensors", "debug-output"),
        ("ProfilerConfig", "output/profiler", "profiler-output"),
        ("TensorBoardOutputConfig", "output/tensorboard", "tensorboard-output"),
    ):
        values = request.get(section) or {}
        if values.get("S3OutputPath"):
            path = _local_path(section, values, default)
            folders.append(
                SyncedFolder(name=results, container=path, uri=join_uri(values["S3OutputPath"], job, results))
            )
    checkpoints = request.get("CheckpointConfig") or {}
    if checkpoints.get("S3Uri"):
        path = _local_path("CheckpointConfig", checkpoints, "checkpoints")
        folders.append(SyncedFolder(name="checkpoints", container=path, uri=checkpoints["S3Uri"], restored=True))
    if isinstance(intermediate, str) and intermediate.startswith("s3://"):
        path = f"{CONTAINER_ML}/output/intermediate"
        folders.append(SyncedFolder(name="intermediate", container=path, uri=intermediate))
    return folders


def _local_path(section: str, values: Mapping[str, Any], default: str) -> str:
    parameters = values.get("ProfilingParameters") or {}
    path = str(values.get("LocalPath") or parameters.get("LocalPath") or f"{CONTAINER_ML}/{default}").rstrip("/")
    if not path.startswith(f"{CONTAINER_ML}/") or ".." in Path(path).parts:
        raise client_error(f"{section}: LocalPath {path} must be a folder in {CONTAINER_ML}.")
    return path


def write_container_files(
    folder: JobFolder, request: Mapping[str, Any], channels: Sequence[Channel], synced: Sequence[SyncedFolder], ml: str
) -> None:
    """Make the folders and the configuration files of a job. ml: path of its /opt/ml as the job sees it."""
    for name in _FOLDERS:
        (folder.ml / name).mkdir(parents=True, exist_ok=True)
    for part in synced:
        folder.inside(part.container).mkdir(parents=True, exist_ok=True)
    configs: dict[str, Any] = {
        "hyperparameters": request.get("HyperParameters") or {},
        "inputdataconfig": {channel.name: channel.to_config() for channel in channels},
        "resourceconfig": resource_config(request),
        "upstreamoutputdataconfig": [
            {"LocalPath": _seen(part.container, ml), "S3Uri": part.uri, "Name": part.name} for part in synced
        ],
    }
    local_paths = {part.name: _seen(part.container, ml) for part in synced}
    for section, name, results in (
        ("DebugHookConfig", "debughookconfig", "debug-output"),
        ("TensorBoardOutputConfig", "tensorboardoutputconfig", "tensorboard-output"),
        ("CheckpointConfig", "checkpointconfig", "checkpoints"),
    ):
        if request.get(section):
            configs[name] = {**request[section], "LocalPath": local_paths.get(results, "")}
    if request.get("ProfilerConfig"):
        configs["profilerconfig"] = profiler_config(request["ProfilerConfig"], local_paths.get("profiler-output"))
    for name, values in configs.items():
        (folder.ml / "input" / "config" / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")


def profiler_config(values: Mapping[str, Any], local_path: str | None) -> dict[str, Any]:
    """Return profilerconfig.json. local_path: of framework metrics as the job sees it, None where there is none."""
    parameters = values.get("ProfilingParameters")
    if not parameters or local_path is None:
        return dict(values)
    return {**values, "ProfilingParameters": {**parameters, "LocalPath": local_path}}


def _seen(container: str, ml: str) -> str:
    return ml + container.removeprefix(CONTAINER_ML)


def resource_config(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return resourceconfig.json: this machine is one host."""
    instance = instance_type(request)
    return {
        "current_host": HOST,
        "current_instance_type": instance,
        "current_group_name": GROUP,
        "hosts": [HOST],
        "instance_groups": [{"instance_group_name": GROUP, "instance_type": instance, "hosts": [HOST]}],
        "network_interface_name": "lo",
    }


def instance_type(request: Mapping[str, Any]) -> str:
    """Return the instance type of a request, which this machine stands for."""
    resources = request.get("ResourceConfig") or {}
    groups = resources.get("InstanceGroups") or [{}]
    return str(resources.get("InstanceType") or groups[0].get("InstanceType") or "")
