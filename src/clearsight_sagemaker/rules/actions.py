"""Actions of a rule that has found something: stop the training job, publish a message to the service's SNS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from clearsight_sagemaker.training.job_folder import JobFolder, ServiceSettings
from smdebug.rules.action import publish, running_jobs

_SECONDS = 10.0  # for an answer of the service


class RuleActions:
    """Carries out actions by the service's own operations. job: name.  write: takes a sentence for the job's log."""

    def __init__(self, job: str, folder: JobFolder, service: ServiceSettings, write: Callable[[str], None]) -> None:
        self._job, self._folder, self._service, self._write = job, folder, service, write

    def perform(self, rule: str, actions: Sequence[dict[str, str]], message: str) -> None:
        """Carry out the actions of a rule; one that is not possible becomes a line of the log."""
        for action in actions:
            try:
                if action["name"] == "stoptraining":
                    self._stop(rule, action["training_job_prefix"])
                else:
                    publish(self._client("sns"), rule, action, message)
                    place = f"a message to {action['endpoint']} is in the notifications of the service"
                    self._write(f"Rule {rule}: {place}; none is sent.")
            except (BotoCoreError, ClientError) as error:
                self._write(f"Rule {rule}: the action {action['name']} was not possible: {error}")

    def _stop(self, rule: str, prefix: str) -> None:
        """Stop the one running job whose name begins with a prefix."""
        try:
            names = running_jobs(self._client("sagemaker"), prefix)
        except BotoCoreError:  # the service is stopped: it knows no other jobs either
            names = [self._job] if self._job.startswith(prefix) else []
        if names == [self._job]:
            self._write(f"Rule {rule}: the action StopTraining stops this job.")
            self._folder.stop.touch()
        elif len(names) == 1:
            self._client("sagemaker").stop_training_job(TrainingJobName=names[0])
            self._write(f"Rule {rule}: the action StopTraining stops the job {names[0]}.")
        else:  # stopping the wrong job is worse than stopping none
            self._write(f"Rule {rule}: {len(names)} running jobs begin with {prefix}, so that none is stopped.")

    def _client(self, name: str) -> Any:
        service = self._service
        return Session().create_client(
            name,
            region_name=service.region,
            endpoint_url=service.endpoint_url,
            aws_access_key_id=service.access_key,
            aws_secret_access_key=service.secret_key,
            config=Config(connect_timeout=_SECONDS, read_timeout=_SECONDS, retries={"max_attempts": 1}, proxies={}),
        )
