"""SageMakerPlace: submits trainings, searches and endpoints of clearsight to SageMaker."""

from __future__ import annotations

import re
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadValue, ClearsightError
from clearsight.core.format import duration, several
from clearsight.workflow.remote.place import (
    RemoteDeployment,
    RemotePlace,
    RemoteResult,
    RemoteTraining,
    RemoteTuning,
    Report,
)
from clearsight_sagemaker.remote.account import AwsAccount, aws_errors
from clearsight_sagemaker.remote.following import follow_endpoint, follow_training, follow_tuning
from clearsight_sagemaker.remote.options import FLAG, SageMakerOptions
from clearsight_sagemaker.remote.requests import (
    SubmittedJob,
    endpoint_config_request,
    job_metric,
    model_request,
    training_request,
    tuning_request,
)
from clearsight_sagemaker.remote.results import describe_job, fetch_run
from clearsight_sagemaker.remote.upload import PREFIX, JobUpload, check_address

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_LONGEST_JOB, _LONGEST_TUNING = 63, 32
_FAILED, _STOPPED = 1, 130  # exit codes


class SageMakerPlace:
    """Submissions to SageMaker, with what boto3 finds of keys and region. It has no state."""

    def train(self, training: RemoteTraining, report: Report) -> RemoteResult:
        """Submit a training job and follow it; its run is in `training.out` afterwards."""
        options = SageMakerOptions.of(training.options)
        check_address(training.data)
        account = AwsAccount(options)
        name = _name(options, training.data, _LONGEST_JOB, "%Y%m%d-%H%M%S-%f")
        job = JobUpload(account, options, report).job(name, training.data, training.recipe, job_metric(training.recipe))
        request = training_request(job, options)
        report(_billing(f"for {_instances(1, options.training_instance)}", options))
        with aws_errors():
            account.sagemaker.create_training_job(**request)
        report(f"job      {name} in {account.region}")
        return _followed_training(account, options, name, training.out, report)

    def tune(self, tuning: RemoteTuning, report: Report) -> RemoteResult:
        """Submit a tuning job and follow it; the run of its best training job is in `tuning.out` afterwards."""
        options = SageMakerOptions.of(tuning.options)
        check_address(tuning.data)
        account, plan = AwsAccount(options), tuning.plan
        name = _name(options, tuning.data, _LONGEST_TUNING, "%y%m%d-%H%M%S")
        metric = job_metric(tuning.recipe, plan.objectives)
        # Once before anything is uploaded: a space that SageMaker cannot search is a mistake.
        epochs = tuning.recipe.train.resolved_epochs
        tuning_request(_draft(name, metric), options, plan, epochs)
        job = JobUpload(account, options, report).job(name, tuning.data, tuning.recipe, metric)
        request = tuning_request(job, options, plan, epochs)
        instances = _instances(plan.parallel, options.training_instance)
        report(_billing(f"for up to {instances} at a time, {several(plan.trials, 'training job')} in all", options))
        with aws_errors():
            account.sagemaker.create_hyper_parameter_tuning_job(**request)
        report(f"job      {name} in {account.region}")
        return _followed_tuning(account, options, name, tuning, report)

    def deploy(self, deployment: RemoteDeployment, report: Report) -> RemoteResult:
        """Make a model, its configuration and an endpoint, all of one name; return once the endpoint is in service."""
        options, name = SageMakerOptions.of(deployment.options), _checked(deployment.name, "--name", _LONGEST_JOB)
        account = AwsAccount(options)
        role, uri = account.role_arn(), JobUpload(account, options, report).model(deployment.model)
        image = options.image_uri("inference", account.region)
        end = f"clearsight sagemaker delete-endpoint {name}"
        instances = _instances(options.instance_count, options.endpoint_instance)
        report(f"billing  you will be billed for {instances} from now on, until you end it with: {end}")
        client = account.sagemaker
        with aws_errors(), ExitStack() as undo:  # of three resources, the first ones go again where one is refused
            client.create_model(**model_request(name, role=role, image=image, data=uri, region=account.region))
            undo.callback(client.delete_model, ModelName=name)
            client.create_endpoint_config(**endpoint_config_request(name, options))
            undo.callback(client.delete_endpoint_config, EndpointConfigName=name)
            client.create_endpoint(EndpointName=name, EndpointConfigName=name)
            undo.pop_all()
        values = {"endpoint": name, "region": account.region, "model": uri}
        if options.wait:
            try:
                follow_endpoint(account, name, report)
            except KeyboardInterrupt:
                lines = [f"endpoint {name} is still being created, and billed", f"end      {end}"]
                return RemoteResult(values=values, lines=lines, exit_code=_STOPPED)
        call = f"aws sagemaker-runtime invoke-endpoint --endpoint-name {name} --content-type image/jpeg"
        lines = [f"serving  {name} in {account.region}", f"try      {call} --body fileb://IMAGE.jpg OUT.json"]
        return RemoteResult(values=values, lines=[*lines, f"end      {end}"])


PLACE: RemotePlace = SageMakerPlace()


def _followed_training(
    account: AwsAccount, options: SageMakerOptions, name: str, out: Path, report: Report
) -> RemoteResult:
    values: dict[str, Any] = {"job": name, "region": account.region, "status": "InProgress", "run": None}
    if not options.wait:
        return RemoteResult(values=values, lines=_later_lines(name, "training"))
    try:
        found = follow_training(account, name, report)
    except (KeyboardInterrupt, ClearsightError) as error:
        return _left_running(values, name, "training", error)
    values |= {"status": found["TrainingJobStatus"], "billed_seconds": found.get("BillableTimeInSeconds")}
    if found["TrainingJobStatus"] != "Completed":
        reason = " ".join(str(found.get("FailureReason") or "").split())
        lines = [f"{values['status'].lower()}: {reason}".rstrip(": ")]
        return RemoteResult(values={**values, "reason": reason}, lines=lines, exit_code=_FAILED)
    run = fetch_run(account, found, out)
    return RemoteResult(values={**values, "run": str(run)}, run=run)


def _followed_tuning(
    account: AwsAccount, options: SageMakerOptions, name: str, tuning: RemoteTuning, report: Report
) -> RemoteResult:
    values: dict[str, Any] = {"job": name, "region": account.region, "status": "InProgress", "run": None}
    if not options.wait:
        return RemoteResult(values=values, lines=_later_lines(name, "tuning"))
    try:
        found = follow_tuning(account, name, report)
    except (KeyboardInterrupt, ClearsightError) as error:
        return _left_running(values, name, "tuning", error)
    values["status"] = found["HyperParameterTuningJobStatus"]
    if not found.get("BestTrainingJob"):
        reason = str(found.get("FailureReason") or "no training job has printed its metric")
        return RemoteResult(values=values, lines=[f"{values['status'].lower()}: {reason}"], exit_code=_FAILED)
    best = describe_job(account, name)
    params = {key: value for key, value in best["HyperParameters"].items() if key in tuning.plan.space.names}
    run = fetch_run(account, best, tuning.out)
    chosen = ", ".join(f"{key}={value}" for key, value in params.items())
    lines = [f"best     {best['TrainingJobName']}: {chosen}"]
    values |= {"best": best["TrainingJobName"], "params": params, "run": str(run)}
    return RemoteResult(values=values, lines=lines, run=run)


def _draft(name: str, metric: str) -> SubmittedJob:
    """Return a job without anything that is uploaded."""
    return SubmittedJob(name=name, role="", image="", source="", channels={}, output="", region="", metric=metric)


def _name(options: SageMakerOptions, data: str, longest: int, time: str) -> str:
    """Return the name of a job: the given one, else that of the data and the time, in UTC."""
    if options.job_name:
        return _checked(options.job_name, f"{FLAG} job_name", longest)
    stamp = datetime.now(UTC).strftime(time)[: 19 if longest == _LONGEST_JOB else 13]
    stem = re.sub(r"[^a-zA-Z0-9]+", "-", Path(data.rstrip("/")).expanduser().resolve().name.split(".")[0]).strip("-")
    base = f"{PREFIX}-{stem}"[: longest - len(stamp) - 1].rstrip("-")
    return f"{base}-{stamp}"


def _checked(name: str, flag: str, longest: int) -> str:
    if len(name) > longest or not _NAME.fullmatch(name):
        problem = f"must be letters, digits and hyphens, at most {longest}, and begin and end with a letter or a digit"
        raise BadValue(f"{flag} {name}", problem)
    return name


def _billing(instances: str, options: SageMakerOptions) -> str:
    kind = " at the rate of spot instances" if options.spot else ""
    limit = f"at most {duration(options.max_run)} for each job"
    return f"billing  you will be billed {instances}{kind}, until it ends, {limit}"


def _instances(count: int, kind: str) -> str:
    return f"{several(count, 'instance')} of {kind}"


def _left_running(values: dict[str, Any], name: str, kind: str, error: BaseException) -> RemoteResult:
    """Return the result where a job can no longer be followed: after Ctrl-C, or where AWS does not answer."""
    lines = _later_lines(name, kind)
    if isinstance(error, ClearsightError):
        return RemoteResult(values=values, lines=[str(error), *lines], exit_code=_FAILED)
    return RemoteResult(values=values, lines=lines, exit_code=_STOPPED)


def _later_lines(name: str, kind: str) -> list[str]:
    """Return how to follow, end and fetch a job that goes on."""
    return [
        f"the {kind} job {name} goes on, and is billed",
        f"follow   clearsight sagemaker follow {name}",
        f"end      clearsight sagemaker stop-job {name}",
        f"fetch    clearsight sagemaker fetch {name}",
    ]
