"""Commands about jobs and endpoints of an account: fetch, follow, stop-job, delete-endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from clearsight.core.errors import NotFound
from clearsight.core.run import Run
from clearsight.core.safe_text import printable_line
from clearsight_sagemaker.remote.account import AwsAccount, aws_errors, is_missing
from clearsight_sagemaker.remote.options import SageMakerOptions

Job: TypeAlias = Annotated[str, typer.Argument(help="name of a training job or a tuning job", show_default=False)]
Region: TypeAlias = Annotated[str, typer.Option(help="region; by default that of the AWS settings")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="print the result as JSON")]


def fetch(
    job: Job,
    out: Annotated[Path | None, typer.Option(help="new run folder \\[default: runs/<job>]")] = None,
    region: Region = "",
    as_json: Json = False,
) -> int:
    """Download the run of a job that clearsight submitted, with its model; of a tuning job, that of its best trial."""
    from clearsight.workflow.messages import end_lines
    from clearsight_sagemaker.remote.results import describe_job, fetch_run

    account = _account(job, region)
    run = fetch_run(account, describe_job(account, job), out or Path("runs") / job)
    for line in (
        [json.dumps({"job": job, "run": str(run)})] if as_json else [f"run      {run}", *end_lines(Run.open(run))]
    ):
        print(printable_line(line))
    return 0


def follow(job: Job, region: Region = "") -> int:
    """Print the log of a training job, or the trials of a tuning job, until it ends or Ctrl-C; the job goes on."""
    from clearsight_sagemaker.remote.following import follow_training, follow_tuning

    def report(line: str) -> None:
        print(printable_line(line), flush=True)

    account = _account(job, region)
    if _is_tuning(account, job):
        status = str(follow_tuning(account, job, report)["HyperParameterTuningJobStatus"])
    else:
        found = follow_training(account, job, report)
        status = str(found["TrainingJobStatus"])
    return 0 if status == "Completed" else 1


def stop_job(job: Job, region: Region = "") -> int:
    """Stop a training job, which keeps what its model folder holds, or a tuning job with its training jobs."""
    account = _account(job, region)
    is_tuning = _is_tuning(account, job)
    with aws_errors(job):
        if is_tuning:
            account.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=job)
        else:
            account.sagemaker.stop_training_job(TrainingJobName=job)
    print(printable_line(f"{job} is being stopped"))
    return 0


def delete_endpoint(
    name: Annotated[str, typer.Argument(help="name of the endpoint", show_default=False)], region: Region = ""
) -> int:
    """Delete an endpoint that clearsight deployed, its configuration and its model; it is billed no longer."""
    from botocore.exceptions import ClientError

    account = _account(name, region)
    client, deleted = account.sagemaker, []
    for kind, delete, parameter in (
        ("endpoint", client.delete_endpoint, "EndpointName"),
        ("configuration", client.delete_endpoint_config, "EndpointConfigName"),
        ("model", client.delete_model, "ModelName"),
    ):
        with aws_errors(name):
            try:
                delete(**{parameter: name})
                deleted.append(kind)
            except ClientError as error:
                if not is_missing(error):
                    raise  # another one is that there is none of this name
    if not deleted:
        raise NotFound(f"endpoint {name}", f"there is none of this name in {account.region}")
    print(printable_line(f"{name}: deleted {', '.join(deleted)}"))
    return 0


def _account(subject: str, region: str) -> AwsAccount:
    return AwsAccount(SageMakerOptions(region=region), subject)


def _is_tuning(account: AwsAccount, job: str) -> bool:
    """Return True for the name of a tuning job, False for that of a training job; raises NotFound for another."""
    from botocore.exceptions import ClientError

    client = account.sagemaker
    for is_tuning, describe, parameter in (
        (False, client.describe_training_job, "TrainingJobName"),
        (True, client.describe_hyper_parameter_tuning_job, "HyperParameterTuningJobName"),
    ):
        with aws_errors(job):
            try:
                describe(**{parameter: job})
                return is_tuning
            except ClientError as error:
                if not is_missing(error):
                    raise
    raise NotFound(job, f"there is no training job and no tuning job of this name in {account.region}")
