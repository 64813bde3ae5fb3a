"""Target tracking: instances of a variant follow its invocations, within the bounds of its scalable target."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.resources.endpoints import update_weights_and_capacities
from clearsight_sagemaker.scaling.scalable_targets import TARGET, scaled_variant
from clearsight_sagemaker.scaling.scaling_policies import ACTIVITY, INVOCATIONS, POLICY
from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.state.service_state import ServiceState

LOG = logging.getLogger("clearsight.sagemaker")

_COOLDOWN = 300  # seconds, where a policy says nothing
_SCALE_IN = 0.9  # of the target: below it there are too many instances
_MOST_ACTIVITIES = 200


def scale_variants(state: ServiceState) -> None:
    """Change the numbers of instances of all targets, as their bounds and policies want it now."""
    policies = state.table.every(POLICY)
    for target in state.table.every(TARGET):
        found = scaled_variant(state, target.name)
        if found is None:
            continue
        row, variant = found
        if row.status != "InService":
            continue
        configs = [policy.document["config"] for policy in policies if policy.document["resource"] == target.name]
        rate = state.endpoints.metrics.per_minute(row.name, variant.name) / variant.count
        count, cause = desired_count(target.document, configs, variant.count, rate, time.time())
        if count != variant.count:
            _scale(state, target, row.name, variant.name, count, cause)


def desired_count(
    target: Mapping[str, Any], configs: list[Mapping[str, Any]], count: int, rate: float, now: float
) -> tuple[int, str]:
    """Return how many instances a variant should have, and why.

    target: document of the scalable target.  configs: of its policies.  rate: invocations a minute of one instance.
    now: seconds since 1970.  Of several policies, the one that wants most decides.
    """
    low, high = target["low"], target["high"]
    if not low <= count <= high:
        return min(max(count, low), high), f"{count} instances are outside of the bounds {low} to {high}"
    desired = [
        (_of_policy(target, config, count, rate, now), config["TargetValue"])
        for config in configs
        if config.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType") == INVOCATIONS
    ]
    if not desired:
        return count, ""
    number, value = max(desired)
    return min(max(number, low), high), f"{rate:g} invocations a minute of one instance, the target is {value:g}"


def _of_policy(target: Mapping[str, Any], config: Mapping[str, Any], count: int, rate: float, now: float) -> int:
    goal, passed = config["TargetValue"], now - target["last"]
    suspended = target["suspended"]
    number = max(1, math.ceil(count * rate / goal - 1e-9))
    if rate > goal:
        is_due = passed >= config.get("ScaleOutCooldown", _COOLDOWN) or not target["last"]
        return number if is_due and not suspended.get("DynamicScalingOutSuspended") else count
    if rate < _SCALE_IN * goal and number < count and not config.get("DisableScaleIn"):
        is_due = passed >= config.get("ScaleInCooldown", _COOLDOWN)
        return number if is_due and not suspended.get("DynamicScalingInSuspended") else count
    return count


def _scale(state: ServiceState, target: Resource, endpoint: str, variant: str, count: int, cause: str) -> None:
    desired = [{"VariantName": variant, "DesiredInstanceCount": count}]
    try:
        update_weights_and_capacities(state, {"EndpointName": endpoint, "DesiredWeightsAndCapacities": desired})
    except ServiceError as error:  # it was deleted or updated at the same moment
        LOG.warning("scaling of %s: %s", target.name, error.message)
        return
    state.table.change(TARGET, target.name, lambda row: replace(row, document={**row.document, "last": time.time()}))
    text = f"Setting desired instance count to {count}."
    LOG.warning("scaling of %s: %s %s", target.name, text, cause)
    document = {
        "resource": target.name,
        "description": text,
        "cause": f"{cause}.",
        "message": f"Successfully set desired instance count to {count}.",
    }
    state.table.add(Resource(kind=ACTIVITY, name=str(uuid.uuid4()), status="", document=document))
    for old in state.table.every(ACTIVITY)[:-_MOST_ACTIVITIES]:
        state.table.remove(ACTIVITY, old.name)
