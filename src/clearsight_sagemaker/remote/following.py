"""Following jobs: log lines as they come, states as they change, until the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from clearsight.core.errors import ClearsightError
from clearsight.workflow.remote.place import Report
from clearsight_sagemaker.remote.account import AwsAccount, aws_errors

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
POLL_SECONDS = 5.0

_ENDED = ("Completed", "Failed", "Stopped")
# Between the end of a job and its last lines in the log.
_LATE_POLLS, _LATE_SECONDS = 2, 1.0


class TrainingLog:
    """Lines of the log of a training job. `new_lines` yields those that came since the last call."""

    def __init__(self, logs: Any, job: str) -> None:
        self._logs, self._prefix = logs, f"{job}/"
        self._tokens: dict[str, str] = {}

    def new_lines(self) -> Iterator[str]:
        """Yield new lines of all instances, in the order of their streams."""
        from botocore.exceptions import ClientError

        try:
            found = self._logs.describe_log_streams(logGroupName=LOG_GROUP, logStreamNamePrefix=self._prefix)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return  # no job of this account has written a line yet
        for stream in sorted(row["logStreamName"] for row in found["logStreams"]):
            yield from self._lines_of(stream)

    def _lines_of(self, stream: str) -> Iterator[str]:
        while True:
            token = self._tokens.get(stream)
            found = self._logs.get_log_events(
                logGroupName=LOG_GROUP,
                logStreamName=stream,
                startFromHead=True,
                **({"nextToken": token} if token else {}),
            )
            yield from (event["message"].rstrip("\n") for event in found["events"])
            self._tokens[stream] = found["nextForwardToken"]
            if found["nextForwardToken"] == token:  # the end, as the service says it
                return


def follow_training(account: AwsAccount, job: str, report: Report, *, poll: float | None = None) -> Mapping[str, Any]:
    """Report the log lines and states of a training job until it has ended; return its description.

    poll: seconds between two looks.
    """
    log, reported, late = TrainingLog(account.client("logs"), job), 0, 0
    while True:
        with aws_errors(job):
            found = account.sagemaker.describe_training_job(TrainingJobName=job)
            transitions = found.get("SecondaryStatusTransitions", [])
            for transition in transitions[reported:]:
                report(f"state    {transition['Status']}: {transition.get('StatusMessage', '')}".rstrip(": "))
            reported = len(transitions)
            for line in log.new_lines():
                report(line)
        seconds = POLL_SECONDS if poll is None else poll
        if found["TrainingJobStatus"] in _ENDED:
            late += 1
            if late == _LATE_POLLS:
                return dict(found)
            seconds = min(seconds, _LATE_SECONDS)
        time.sleep(seconds)


def follow_tuning(account: AwsAccount, job: str, report: Report, *, poll: float | None = None) -> Mapping[str, Any]:
    """Report the counts and the best trial of a tuning job as they change; return its description once it has ended."""

    def line(found: Mapping[str, Any]) -> str:
        counts = found["TrainingJobStatusCounters"]
        failed = counts.get("RetryableError", 0) + counts.get("NonRetryableError", 0)
        text = f"trials   {counts.get('Completed', 0)} completed, {counts.get('InProgress', 0)} running, "
        text += f"{counts.get('Stopped', 0)} stopped, {failed} failed"
        best = (found.get("BestTrainingJob") or {}).get("FinalHyperParameterTuningJobObjectiveMetric")
        return f"{text}; best {best['MetricName']} {best['Value']:.4f}" if best else text

    name = {"HyperParameterTuningJobName": job}
    states = _descriptions(job, partial(account.sagemaker.describe_hyper_parameter_tuning_job, **name), poll)
    for found in _with_changes(states, line, report):
        if found["HyperParameterTuningJobStatus"] in _ENDED:
            return found
    raise AssertionError("descriptions do not end")


def follow_endpoint(account: AwsAccount, name: str, report: Report, *, poll: float | None = None) -> None:
    """Report the state of an endpoint until it is in service; raises ClearsightError with the reason otherwise."""
    states = _descriptions(name, partial(account.sagemaker.describe_endpoint, EndpointName=name), poll)
    for found in _with_changes(states, lambda found: f"state    {found['EndpointStatus']}", report):
        status = found["EndpointStatus"]
        if status == "InService":
            return
        if status in ("Failed", "OutOfService"):
            reason = str(found.get("FailureReason") or status).rstrip(".")
            fix = f"Remove it with: clearsight sagemaker delete-endpoint {name}"
            raise ClearsightError(f"endpoint {name}", f"it did not come into service: {reason}", fix=fix)


def _descriptions(job: str, describe: Callable[[], dict[str, Any]], poll: float | None) -> Iterator[dict[str, Any]]:
    """Yield descriptions without end, with a pause between them."""
    while True:
        with aws_errors(job):
            found = describe()
        yield found
        time.sleep(POLL_SECONDS if poll is None else poll)


def _with_changes(
    descriptions: Iterator[dict[str, Any]], line: Callable[[Mapping[str, Any]], str], report: Report
) -> Iterator[dict[str, Any]]:
    """Yield descriptions, and report their lines where they change."""
    reported = ""
    for found in descriptions:
        if (text := line(found)) != reported:
            report(text)
            reported = text
        yield found
