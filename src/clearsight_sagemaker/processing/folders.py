"""Folders of a processing job in /opt/ml: inputs, outputs and configuration files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight_sagemaker.training.artifacts import files_of
from clearsight_sagemaker.training.channels import Channel
from clearsight_sagemaker.training.container_files import HOST
from clearsight_sagemaker.training.folder_sync import FolderSync
from clearsight_sagemaker.training.job_folder import JobFolder
from clearsight_sagemaker.training.objects import Objects, join_uri


def processing_inputs(request: Mapping[str, Any]) -> list[tuple[Channel, str]]:
    """Return the inputs that are downloaded before the job, each with its LocalPath."""
    inputs = []
    for entry in request.get("ProcessingInputs") or ():
        source = entry["S3Input"]
        if entry.get("AppManaged"):
            continue  # the program of the job reads it itself
        channel = Channel(
            name=entry["InputName"],
            word="processing input",
            uri=source["S3Uri"],
            kind=source["S3DataType"],
            mode="File",
            compression=source.get("S3CompressionType") or "None",
            sharded=source.get("S3DataDistributionType") == "ShardedByS3Key",
        )
        inputs.append((channel, source["LocalPath"]))
    return inputs


@dataclass(frozen=True, slots=True)
class ProcessingOutputs:
    """A folder that becomes objects below an address. sync: uploads it while the job runs, None for its end alone."""

    path: Path
    uri: str
    sync: FolderSync | None

    def upload(self, folder: JobFolder, objects: Objects, warn: Callable[[str], None]) -> None:
        """Upload what is not there yet. Raises S3Error, OSError.

        folder: of the job.  warn: takes a sentence about a file that is left out.
        """
        if self.sync is not None:
            self.sync.finish(unfinished=True)
            return
        for name, path in files_of(self.path, folder, warn):
            objects.upload(path, join_uri(self.uri, name))


def output_folders(request: Mapping[str, Any], folder: JobFolder, objects: Objects) -> list[ProcessingOutputs]:
    """Return the folders of the outputs of a request."""
    folders = []
    for entry in (request.get("ProcessingOutputConfig") or {}).get("Outputs") or ():
        if entry.get("AppManaged"):
            continue  # the program of the job writes it itself
        output = entry["S3Output"]
        path, uri = folder.inside(output["LocalPath"]), output["S3Uri"]
        sync = FolderSync(path, uri, objects) if output["S3UploadMode"] == "Continuous" else None
        folders.append(ProcessingOutputs(path, uri, sync))
    return folders


def write_configuration(folder: JobFolder, request: Mapping[str, Any], arn: str) -> None:
    """Write the files of /opt/ml/config."""
    cluster = request["ProcessingResources"]["ClusterConfig"]
    application = request["AppSpecification"]
    job = {
        "ProcessingJobArn": arn,
        "ProcessingJobName": request["ProcessingJobName"],
        "AppSpecification": {
            "ImageUri": application["ImageUri"],
            "ContainerEntrypoint": application.get("ContainerEntrypoint"),
            "ContainerArguments": application.get("ContainerArguments"),
        },
        "Environment": request.get("Environment") or {},
        "ProcessingInputs": request.get("ProcessingInputs") or [],
        "ProcessingOutputConfig": request.get("ProcessingOutputConfig") or {"Outputs": []},
        "ProcessingResources": {"ClusterConfig": {"VolumeKmsKeyId": None, **cluster}},
        "RoleArn": request["RoleArn"],
        "StoppingCondition": request["StoppingCondition"],
    }
    resources = {
        "current_host": HOST,
        "hosts": [HOST],
        "network_interface_name": "lo",
        "current_instance_type": instance_of(request),
    }
    configuration = folder.ml / "config"
    configuration.mkdir(parents=True)
    for name, values in (("processingjobconfig", job), ("resourceconfig", resources)):
        (configuration / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")


def instance_of(request: Mapping[str, Any]) -> str:
    """Return the instance type of a request, which this machine stands for."""
    cluster = request["ProcessingResources"]["ClusterConfig"]
    preferences = cluster.get("InstancePreferences") or [{}]
    return str(cluster.get("InstanceType") or preferences[0].get("InstanceType") or "")
