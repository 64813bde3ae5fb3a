"""RemoteObjects: objects of a job in an S3 of any kind, through boto3, in the place of the service's own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from clearsight.core.errors import missing_extra
from clearsight_sagemaker.s3.errors import STATUSES, S3Error
from clearsight_sagemaker.training.job_folder import JobFolder, ServiceSettings
from clearsight_sagemaker.training.objects import JobObjects, Objects, Writable, content_type_of, split_uri

_RETRIES = 5


def objects_of(service: ServiceSettings, folder: JobFolder) -> Objects:
    """Return the objects of the service, or those of the S3 in its place."""
    if not service.s3_endpoint:
        return JobObjects(service.objects)
    keys = (service.access_key, service.secret_key, service.region)
    return RemoteObjects(service.s3_endpoint, *keys, folder.work / "objects")


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """An object of a listing."""

    key: str
    size: int


class RemoteObjects:
    """Objects behind `endpoint`. Objects are copied to a file of their own before they are read.

    work: folder for these files.  Errors of the store are raised as S3Error, those of the connection too.
    """

    def __init__(self, endpoint: str, access_key: str, secret_key: str, region: str, work: Path) -> None:
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError:
            raise missing_extra("boto3", "sagemaker", "--s3-endpoint") from None
        self._refused, self._failed, self._work = ClientError, BotoCoreError, work
        # Paths and not host names: the names of buckets are in no DNS here.
        config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": _RETRIES, "mode": "standard"})
        self._client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=config,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def keys(self, uri: str) -> Iterator[RemoteObject]:
        """Yield all objects whose key begins with that of an address. Raises S3Error."""
        bucket, prefix = split_uri(uri)
        with self._errors(uri):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for entry in page.get("Contents", []):
                    yield RemoteObject(entry["Key"], entry["Size"])

    @contextmanager
    def opened(self, uri: str) -> Iterator[tuple[Path, IO[bytes]]]:
        """Yield path and file of a copy of an object, which is gone after the block. Raises S3Error."""
        bucket, key = split_uri(uri)
        with tempfile.NamedTemporaryFile(dir=self._folder(), prefix="object-") as copy:
            with self._errors(uri):
                self._client.download_fileobj(bucket, key, copy)
            copy.seek(0)
            yield Path(copy.name), copy

    def check_bucket(self, uri: str) -> None:
        """Raise S3Error unless the bucket of an address exists."""
        with self._errors(uri):
            self._client.head_bucket(Bucket=split_uri(uri)[0])

    def content_type(self, uri: str) -> str:
        """Return the content type of an object, "" where it has none. Raises S3Error."""
        bucket, key = split_uri(uri)
        with self._errors(uri):
            return str(self._client.head_object(Bucket=bucket, Key=key).get("ContentType", ""))

    @contextmanager
    def writing(self, uri: str, kind: str = "") -> Iterator[Writable]:
        """Yield a file whose bytes become an object after the block; after an error nothing is changed.

        kind: content type, "" for that of the name.
        """
        with tempfile.NamedTemporaryFile(dir=self._folder(), prefix="object-") as file:
            yield file
            file.flush()
            self._upload(Path(file.name), uri, kind)

    def upload(self, path: Path, uri: str) -> None:
        """Make an object of a file. Raises S3Error, OSError."""
        self._upload(path, uri, "")

    def _upload(self, path: Path, uri: str, kind: str) -> None:
        bucket, key = split_uri(uri)
        with self._errors(uri), path.open("rb") as file:
            content = {"ContentType": kind or content_type_of(key)}
            self._client.upload_fileobj(file, bucket, key, ExtraArgs=content)

    def _folder(self) -> Path:
        self._work.mkdir(parents=True, exist_ok=True)
        return self._work

    @contextmanager
    def _errors(self, uri: str) -> Iterator[None]:
        """Raise errors of boto3 as S3Error with the code of the store."""
        try:
            yield
        except self._refused as error:
            raise _s3_error(error.response, uri) from None
        except self._failed as error:
            raise S3Error("InternalError", f"{uri}: {error}") from None


def _s3_error(response: dict[str, Any], uri: str) -> S3Error:
    found = response.get("Error", {})
    code = {"404": "NoSuchKey", "403": "AccessDenied"}.get(found.get("Code", ""), found.get("Code", ""))
    if code == "NoSuchKey" and not split_uri(uri)[1]:
        code = "NoSuchBucket"
    return S3Error(code if code in STATUSES else "InternalError", f"{uri}: {found.get('Message', code)}")
