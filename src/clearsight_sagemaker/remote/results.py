"""Results of jobs: from model.tar.gz and output.tar.gz in S3 to a run folder on this machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearsight.core.bundle import Bundle
from clearsight.core.errors import ClearsightError, NotFound
from clearsight.core.files import unpack
from clearsight.core.run import Run
from clearsight_sagemaker.remote.account import AwsAccount, aws_errors, is_missing

_MOST_BYTES = 1 << 40


def describe_job(account: AwsAccount, job: str) -> Mapping[str, Any]:
    """Return the description of a training job, or of the best one of a tuning job.

    Raises NotFound where there is neither, ClearsightError for a tuning job without a best one.
    """
    from botocore.exceptions import ClientError

    client = account.sagemaker
    with aws_errors(job):
        try:
            return dict(client.describe_training_job(TrainingJobName=job))
        except ClientError as error:
            if not is_missing(error):
                raise
        try:
            tuning = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=job)
        except ClientError as error:
            if not is_missing(error):
                raise
            raise NotFound(
                job, f"there is no training job and no tuning job of this name in {account.region}"
            ) from None
        best = tuning.get("BestTrainingJob")
        if not best:
            problem = f"it has no best training job; it is {tuning['HyperParameterTuningJobStatus']}"
            raise ClearsightError(job, problem)
        return dict(client.describe_training_job(TrainingJobName=best["TrainingJobName"]))


def fetch_run(account: AwsAccount, description: Mapping[str, Any], out: Path) -> Path:
    """Download the run of a training job into the new folder `out`, with its model; return the folder.

    Raises NotResumable where a run is there, NotFound for a job that has left no result, BadArchive for a damaged one,
    BadBundle for another job's model.
    """
    job = str(description["TrainingJobName"])
    Run.check_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="clearsight-fetch-", dir=out.parent) as temporary:
        work = Path(temporary)
        run = work / "output" / "run"
        base = str(description["OutputDataConfig"]["S3OutputPath"]).rstrip("/")
        has_output = _unpacked(account, f"{base}/{job}/output/output.tar.gz", work / "output")
        model = (description.get("ModelArtifacts") or {}).get("S3ModelArtifacts")
        has_model = bool(model) and _unpacked(account, str(model), work / "model")
        if not (has_output and Run.exists(run)):
            status = str(description["TrainingJobStatus"])
            fix = f"Its log: clearsight sagemaker follow {job}" if status in ("Failed", "Stopped") else ""
            fix = fix or "Fetch it when it has ended, if clearsight train --on sagemaker has submitted it."
            raise NotFound(job, f"it has left no run of clearsight; it is {status}", fix=fix)
        if has_model and any((work / "model").iterdir()):
            Bundle.open(work / "model")
            shutil.rmtree(run / "model", ignore_errors=True)
            (work / "model").rename(run / "model")
        if out.is_dir():
            out.rmdir()  # empty, or a run could not be put there
        run.rename(out)
    return out


def _unpacked(account: AwsAccount, uri: str, folder: Path) -> bool:
    """Unpack an archive in S3 into a folder; return False where there is none."""
    archive = folder.with_suffix(".tar.gz")
    if not account.download(uri, archive):
        return False
    folder.mkdir()
    unpack(archive, folder, max_bytes=_MOST_BYTES)
    archive.unlink()
    return True
