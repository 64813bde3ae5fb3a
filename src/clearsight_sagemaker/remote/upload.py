"""JobUpload: puts what a job reads into the bucket: source, dataset, weights."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadValue
from clearsight.core.files import sha256
from clearsight.core.format import several, size
from clearsight.core.recipe import Recipe
from clearsight.workflow.remote.place import Report
from clearsight_sagemaker.remote.account import AwsAccount
from clearsight_sagemaker.remote.options import SageMakerOptions
from clearsight_sagemaker.remote.packing import pack_data, source_archive, write_model_archive
from clearsight_sagemaker.remote.requests import SubmittedJob

PREFIX = "clearsight"  # of every key


@dataclass(frozen=True, slots=True)
class JobUpload:
    """Uploads of one submission. Keys are by content, so that the same data travel once."""

    account: AwsAccount
    options: SageMakerOptions
    report: Report

    def job(self, name: str, data: str, recipe: Recipe, metric: str) -> SubmittedJob:
        """Upload source, data and weights of a training; return the job."""
        role, bucket = self.account.role_arn(), self.account.bucket()
        values: dict[str, Any] = {"metric": metric, "checkpoints": self.options.spot}
        channels, values["data"], values["archive"], recipe = self._data(data, recipe, bucket)
        values["weights"] = ""
        if recipe.model.weights not in ("default", "none"):
            file = Path(recipe.model.weights)
            channels["weights"] = self._file(file, bucket, "weights", file.name)
            values["weights"] = file.name
            recipe = recipe.replace(weights="none")  # a path of this machine: the script puts its own in the place
        source = source_archive(recipe, values)
        return SubmittedJob(
            name=name,
            role=role,
            image=self.options.image_uri("training", self.account.region),
            source=self.account.upload(source, bucket, f"{PREFIX}/source/{name}/sourcedir.tar.gz"),
            channels=channels,
            output=f"s3://{bucket}/{PREFIX}",
            region=self.account.region,
            metric=metric,
        )

    def model(self, model: Path) -> str:
        """Upload a run or a bundle with the code that serves it; return the URI."""
        bucket = self.account.bucket()
        with tempfile.TemporaryDirectory(prefix="clearsight-submit-") as temporary:
            archive = Path(temporary) / "model.tar.gz"
            name = write_model_archive(model, archive)
            self.report(f"model    {name}, {size(archive.stat().st_size)} to s3://{bucket}/{PREFIX}/models")
            return self._file(archive, bucket, "models", archive.name)

    def _data(self, data: str, recipe: Recipe, bucket: str) -> tuple[dict[str, str], str, str, Recipe]:
        """Return the channel of a dataset, its path there, the archive that has to be unpacked, and the recipe."""
        if data.startswith("s3://"):
            return {"data": data}, "", "", recipe
        with tempfile.TemporaryDirectory(prefix="clearsight-submit-") as temporary:
            found = pack_data(Path(data), recipe, Path(temporary))
            files = f"{several(found.files, 'file')}, " if found.files else ""
            self.report(f"data     {files}{size(found.file.stat().st_size)} to s3://{bucket}/{PREFIX}/data")
            uri = self._file(found.file, bucket, "data", found.name)
        return {"data": uri}, found.data, found.name if found.is_archive else "", found.recipe

    def _file(self, file: Path, bucket: str, kind: str, name: str) -> str:
        return self.account.upload(file, bucket, f"{PREFIX}/{kind}/{sha256(file)[:32]}/{name}")


def check_address(data: str) -> None:
    """Raise BadValue for a dataset that is neither on this machine nor in S3."""
    if "://" in data and not data.startswith("s3://"):
        raise BadValue(data, "must be a path of this machine, or begin with s3://")
