"""Sources of a transform job: the objects that it reads, each with the address of its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clearsight_sagemaker.training.channels import Channel, Downloader
from clearsight_sagemaker.training.objects import Objects, join_uri


@dataclass(slots=True)
class TransformSource:
    """An object. result: address of its result.  problem: why it has no result, "" as long as it may have one."""

    uri: str
    result: str
    problem: str = ""


def transform_sources(request: Mapping[str, Any], objects: Objects) -> list[TransformSource]:
    """Return the objects of a request in the order of their addresses. Raises JobFailed where there are none."""
    source = request["TransformInput"]["DataSource"]["S3DataSource"]
    channel = Channel(name="input", word="transform", uri=source["S3Uri"], kind=source["S3DataType"], mode="File")
    files = Downloader(objects=objects, links=False, check=lambda: None).files(channel)
    output = request["TransformOutput"]["S3OutputPath"]
    return [TransformSource(uri=file.uri, result=join_uri(output, f"{file.name}.out")) for file in files]
