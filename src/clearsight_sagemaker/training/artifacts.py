"""Artifacts: model.tar.gz and output.tar.gz of a job, from its folders to objects."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from clearsight_sagemaker.training.job_folder import CONTAINER_ML, JobFolder
from clearsight_sagemaker.training.objects import Objects, join_uri

_COMPRESSION = 1  # of gzip: weights hardly shrink, and higher levels are many times slower


def upload_model(folder: JobFolder, request: Mapping[str, Any], objects: Objects, warn: Callable[[str], None]) -> str:
    """Upload /opt/ml/model and return the address of the result. Raises S3Error, OSError.

    warn: takes a sentence about a file that is left out.
    """
    output = request["OutputDataConfig"]
    results = join_uri(output["S3OutputPath"], request["TrainingJobName"], "output")
    files = list(files_of(folder.ml / "model", folder, warn))
    if output.get("CompressionType") != "NONE":
        return _upload_archive(files, join_uri(results, "model.tar.gz"), objects)
    for name, path in files:
        objects.upload(path, join_uri(results, "model", name))
    return join_uri(results, "model/")


def upload_output(
    folder: JobFolder, request: Mapping[str, Any], objects: Objects, warn: Callable[[str], None]
) -> str | None:
    """Upload /opt/ml/output/data and the failure file; return the address, None where there is nothing."""
    files = list(files_of(folder.ml / "output" / "data", folder, warn))
    failure = folder.ml / "output" / "failure"
    if failure.is_file() and not failure.is_symlink():
        files.append(("failure", failure))
    if not files:
        return None
    uri = join_uri(request["OutputDataConfig"]["S3OutputPath"], request["TrainingJobName"], "output", "output.tar.gz")
    return _upload_archive(files, uri, objects)


def _upload_archive(files: list[tuple[str, Path]], uri: str, objects: Objects) -> str:
    with (
        objects.writing(uri) as target,
        gzip.GzipFile(fileobj=cast(IO[bytes], target), mode="wb", filename="", compresslevel=_COMPRESSION) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        for name, path in files:
            archive.add(path, name, recursive=False, filter=_of_root)
    return uri


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return a member that belongs to root, as in the archives of containers."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def files_of(root: Path, folder: JobFolder, warn: Callable[[str], None]) -> Iterator[tuple[str, Path]]:
    """Yield names and paths of the files below a folder, in order.

    A link is replaced by the file in the job's /opt/ml that it leads to; one that leads elsewhere is left out, and so
    are sockets and the like.
    """
    for path in sorted(root.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        name = path.relative_to(root).as_posix()
        found = _target(path, folder)
        if found is None:
            warn(f"{name} of {root.name} is not uploaded: it is no file of the job.")
        else:
            yield name, found


def _target(path: Path, folder: JobFolder) -> Path | None:
    if path.is_symlink():
        link = path.readlink()
        if link.is_relative_to(CONTAINER_ML):
            link = folder.ml / link.relative_to(CONTAINER_ML)
        path = (path.parent / link).resolve()
        if not path.is_relative_to(folder.ml.resolve()):
            return None
    return path if path.is_file() else None
