"""A folder of a model server, and an object store beside it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from clearsight_sagemaker.hosting.model_server import ModelServer, model_server
from clearsight_sagemaker.s3.store import Content, ObjectStore
from clearsight_sagemaker.training.environment import UserEnvironment

BUCKET = "models"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:1.9-cpu-py38"
SCRIPT = "code/inference.py"


@dataclass
class ModelFolder:
    """A model in a folder of a test."""

    folder: Path
    store: ObjectStore
    environment: dict[str, str] = field(default_factory=lambda: {"SAGEMAKER_PROGRAM": "inference.py"})
    image: str = IMAGE

    def put(self, key: str, body: bytes) -> str:
        """Make an object and return its address."""
        put(self.store, BUCKET, key, body)
        return f"s3://{BUCKET}/{key}"

    def write(self, data: str | Mapping[str, object]) -> None:
        """Write the files that the service writes. data: address of an archive, or ModelDataSource."""
        source = {"ModelDataUrl": data} if isinstance(data, str) else {"ModelDataSource": data}
        container = {"Image": self.image, "Environment": self.environment, **source}
        service = {
            "region": "us-east-1",
            "account": "123456789012",
            "role": "arn:aws:iam::123456789012:role/clearsight",
            "bucket": BUCKET,
            "endpoint_url": "http://127.0.0.1:9",
            "objects": str(self.store.folder),
            "home": str(self.folder.parent / "home"),
            "access_key": "access",
            "secret_key": "secret",
            "job_environment": {},
        }
        self.folder.mkdir(exist_ok=True)
        (self.folder / "request.json").write_text(json.dumps({"PrimaryContainer": container}))
        (self.folder / "service.json").write_text(json.dumps(service))

    @contextmanager
    def serving(self, files: Mapping[str, str | bytes]) -> Iterator[ModelServer]:
        """Serve an archive of files within the block."""
        self.write(self.put("model.tar.gz", archive(files)))
        with self.server() as server:
            yield server

    @contextmanager
    def server(self) -> Iterator[ModelServer]:
        """Serve what was written."""
        with model_server(self.folder, UserEnvironment(variables={"PATH": os.environ["PATH"]})) as server:
            yield server

    @property
    def log(self) -> str:
        """Return the log without its times."""
        lines = (self.folder / "log.txt").read_text().splitlines()
        return "\n".join(line.partition(" ")[2] for line in lines)


def put(store: ObjectStore, bucket: str, key: str, body: bytes) -> None:
    """Make an object."""
    with store.new_file(bucket) as file:
        file.write(body)
        store.put(bucket, key, file, Content(), hashlib.md5(body, usedforsecurity=False).hexdigest(), {})


def archive(files: Mapping[str, str | bytes]) -> bytes:
    """Return a tar.gz with files."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as members:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            members.addfile(info, io.BytesIO(data))
    return body.getvalue()


def folder_archive(folder: Path) -> bytes:
    """Return a tar.gz with the files of a folder."""
    return archive(
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    )
