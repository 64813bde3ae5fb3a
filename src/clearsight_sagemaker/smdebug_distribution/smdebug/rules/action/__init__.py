"""Actions of a rule: stop the training, send a message. They call SageMaker and SNS by boto3."""

from __future__ import annotations

import json
from typing import Any, Callable

from smdebug.core import environment
from smdebug.core.logger import get_logger
from smdebug.exceptions import SMDebugValueError

_TOPIC = "SMDebugRules"


class Actions:
    """The actions of a JSON text: an object or a list of objects with a `name`.

    {"name": "stoptraining", "training_job_prefix": PREFIX} stops the one running job whose name begins so;
    {"name": "email" or "sms", "endpoint": ADDRESS} publishes to the topic SMDebugRules.
    Quotes may be escaped by backslashes, as SageMaker's SDK writes them. Raises SMDebugValueError for other texts.
    """

    def __init__(self, actions_str: str | None, rule_name: str) -> None:
        self._rule_name = rule_name
        self._actions = parse_actions(actions_str)

    def invoke(self, message: str = "") -> None:
        """Carry out the actions."""
        for action in self._actions:
            perform: Callable[[str, dict[str, str], str], None] = _PERFORM[action["name"]]
            perform(self._rule_name, action, message)


def parse_actions(text: str | None) -> list[dict[str, str]]:
    """Return actions with `name`, and `training_job_prefix` or `endpoint`. Raises SMDebugValueError."""
    text = (text or "").strip()
    if not text:
        return []
    try:
        parsed = json.loads(text.replace('\\"', '"'))
    except ValueError:
        raise SMDebugValueError(f"actions {text!r}: must be JSON, such as {{'name': 'stoptraining', ...}}.") from None
    return [_checked(action, text) for action in (parsed if isinstance(parsed, list) else [parsed])]


def _checked(action: Any, text: str) -> dict[str, str]:
    """Return an action in lower case, with its name and what the name requires."""
    values = {str(key).lower(): str(value) for key, value in action.items()} if isinstance(action, dict) else {}
    name = values.get("name", "").lower()
    if name not in _PERFORM:
        raise SMDebugValueError(f"actions {text!r}: action {name!r} is not one of {', '.join(_PERFORM)}.")
    required = "training_job_prefix" if name == "stoptraining" else "endpoint"
    if not values.get(required):
        raise SMDebugValueError(f"actions {text!r}: action {name} needs {required!r}.")
    return {**values, "name": name}


def _client(service: str) -> Any:
    import boto3

    return boto3.client(service, region_name=environment.region())


def _stop_training(rule_name: str, action: dict[str, str], message: str) -> None:
    prefix, client = action["training_job_prefix"], _client("sagemaker")
    matching = running_jobs(client, prefix)
    if len(matching) == 1:
        client.stop_training_job(TrainingJobName=matching[0])
        get_logger().info(f"{rule_name}: stopped training job {matching[0]}. {message}")
    else:
        # Stopping the wrong job is worse than stopping none.
        get_logger().warning(f"{rule_name}: {len(matching)} running jobs begin with {prefix}, so none was stopped.")


def running_jobs(client: Any, prefix: str) -> list[str]:
    """Return the names of the running jobs that begin with a prefix. client: of SageMaker."""
    pages = client.get_paginator("list_training_jobs").paginate(NameContains=prefix, StatusEquals="InProgress")
    names = [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]
    return [name for name in names if name.startswith(prefix)]


def _send_message(rule_name: str, action: dict[str, str], message: str) -> None:
    publish(_client("sns"), rule_name, action, message)


def publish(client: Any, rule_name: str, action: dict[str, str], message: str) -> None:
    """Publish to the topic SMDebugRules, for the address of an action. client: of SNS."""
    protocol, endpoint = action["name"], action["endpoint"]
    attribute = "phone_num" if protocol == "sms" else "email"
    topic = client.create_topic(Name=_TOPIC)["TopicArn"]
    client.subscribe(
        TopicArn=topic,
        Protocol=protocol,
        Endpoint=endpoint,
        Attributes={"FilterPolicy": json.dumps({attribute: [endpoint]})},
    )
    client.publish(
        TopicArn=topic,
        Subject=f"SMDebugRule:{rule_name} fired",
        Message=f"SMDebugRule:{rule_name} fired. {message}",
        MessageAttributes={attribute: {"DataType": "String", "StringValue": endpoint}},
    )


_PERFORM: dict[str, Callable[[str, dict[str, str], str], None]] = {
    "stoptraining": _stop_training,
    "email": _send_message,
    "sms": _send_message,
}
