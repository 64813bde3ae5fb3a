"""SNS: topics and subscriptions. A message is written to the file of notifications and to the log; none is sent."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Mapping
from typing import Any

from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.state.resource_table import Resource, ResourceExists
from clearsight_sagemaker.state.service_state import Operation, ServiceState

LOG = logging.getLogger("clearsight.sagemaker")
_TOPIC, _SUBSCRIPTION = "sns-topic", "sns-subscription"


def create_topic(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Create a topic; one that exists is returned."""
    arn = f"arn:aws:sns:{state.account.region}:{state.account.account}:{request['Name']}"
    try:
        state.table.add(Resource(kind=_TOPIC, name=arn, status="", document={}))
    except ResourceExists:
        return {"TopicArn": arn}
    return {"TopicArn": arn}


def delete_topic(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Remove a topic and its subscriptions; one that is not there is no error."""
    arn = request["TopicArn"]
    state.table.remove(_TOPIC, arn)
    for subscription in _subscriptions(state, arn):
        state.table.remove(_SUBSCRIPTION, subscription.name)


def list_topics(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return all topics."""
    return {"Topics": [{"TopicArn": topic.name} for topic in state.table.every(_TOPIC)]}


def subscribe(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Note a subscription; the same one twice is the first."""
    topic, protocol, endpoint = request["TopicArn"], request["Protocol"], request.get("Endpoint", "")
    _check_topic(state, topic)
    for subscription in _subscriptions(state, topic):
        if (subscription.document["protocol"], subscription.document["endpoint"]) == (protocol, endpoint):
            return {"SubscriptionArn": subscription.name}
    document = {
        "topic": topic,
        "protocol": protocol,
        "endpoint": endpoint,
        "attributes": request.get("Attributes", {}),
    }
    arn = f"{topic}:{uuid.uuid4()}"
    state.table.add(Resource(kind=_SUBSCRIPTION, name=arn, status="", document=document))
    return {"SubscriptionArn": arn}


def unsubscribe(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Remove a subscription; one that is not there is no error."""
    state.table.remove(_SUBSCRIPTION, request["SubscriptionArn"])


def list_subscriptions(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return all subscriptions, or those of a topic."""
    topic = request.get("TopicArn", "")
    if topic:
        _check_topic(state, topic)
    found = [
        {
            "SubscriptionArn": subscription.name,
            "Owner": state.account.account,
            "Protocol": subscription.document["protocol"],
            "Endpoint": subscription.document["endpoint"],
            "TopicArn": subscription.document["topic"],
        }
        for subscription in _subscriptions(state, topic)
    ]
    return {"Subscriptions": found}


def publish(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Write a message down, with those who would get it."""
    topic = request.get("TopicArn") or request.get("TargetArn") or ""
    receivers = [request["PhoneNumber"]] if "PhoneNumber" in request else []
    if not receivers:
        _check_topic(state, topic)
        receivers = [subscription.document["endpoint"] for subscription in _subscriptions(state, topic)]
    identity = str(uuid.uuid4())
    message = {
        "time": time.time(),
        "id": identity,
        "topic": topic,
        "subject": request.get("Subject", ""),
        "message": request["Message"],
        "receivers": receivers,
    }
    with state.file_lock, state.home.notifications.open("a", encoding="utf-8") as file:
        file.write(json.dumps(message) + "\n")
    LOG.warning("notification %s %r is in %s", topic, message["subject"], state.home.notifications)
    return {"MessageId": identity}


def send(state: ServiceState, topic: str, subject: str, message: str) -> None:
    """Write a message of the service itself down; where the topic is not there, the log says so."""
    try:
        publish(state, {"TopicArn": topic, "Subject": subject, "Message": message})
    except ServiceError as error:
        LOG.warning("notification %s: %s", topic, error.message)


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("sns", "CreateTopic"): create_topic,
    ("sns", "DeleteTopic"): delete_topic,
    ("sns", "ListTopics"): list_topics,
    ("sns", "Subscribe"): subscribe,
    ("sns", "Unsubscribe"): unsubscribe,
    ("sns", "ListSubscriptions"): list_subscriptions,
    ("sns", "ListSubscriptionsByTopic"): list_subscriptions,
    ("sns", "Publish"): publish,
}


def _subscriptions(state: ServiceState, topic: str) -> list[Resource]:
    found = state.table.every(_SUBSCRIPTION)
    return [subscription for subscription in found if topic in ("", subscription.document["topic"])]


def _check_topic(state: ServiceState, arn: str) -> None:
    if state.table.get(_TOPIC, arn) is None:
        raise ServiceError("NotFound", "Topic does not exist", 404)
