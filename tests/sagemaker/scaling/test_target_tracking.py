"""Instances of a variant follow its invocations, within bounds, cooldowns and suspensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from clearsight_sagemaker.endpoints.endpoint_metrics import Invocation
from clearsight_sagemaker.scaling.target_tracking import desired_count, scale_variants
from tests.sagemaker.endpoints.hosted import Hosted
from tests.sagemaker.hosting.model_folder import SCRIPT
from tests.sagemaker.local_service import LocalService

NOW = 1_000_000.0
TARGET = {"low": 1, "high": 4, "suspended": {}, "last": 0.0}
POLICY = {
    "TargetValue": 10.0,
    "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
}
VARIANT = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/scaled/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}


@pytest.mark.parametrize(
    ("target", "policy", "count", "rate", "desired"),
    [
        ({}, {}, 1, 10.0, 1),
        ({}, {}, 1, 25.0, 3),
        ({}, {}, 2, 100.0, 4),
        ({}, {}, 4, 5.0, 2),
        ({}, {}, 2, 9.5, 2),
        ({}, {"DisableScaleIn": True}, 4, 0.0, 4),
        ({"last": NOW - 299}, {}, 1, 25.0, 1),
        ({"last": NOW - 299}, {"ScaleOutCooldown": 60}, 1, 25.0, 3),
        ({"last": NOW - 299}, {}, 4, 0.0, 4),
        ({"suspended": {"DynamicScalingOutSuspended": True}}, {}, 1, 25.0, 1),
        ({"low": 2}, {}, 1, 0.0, 2),
        ({}, {"PredefinedMetricSpecification": {"PredefinedMetricType": "Other"}}, 1, 99.0, 1),
    ],
    ids=[
        *(
            "at the target",
            "out",
            "not above MaxCapacity",
            "in",
            "in from 90 % on",
            "never in",
            "cooldown",
            "own cooldown",
        ),
        *("cooldown of in", "suspended", "below MinCapacity", "another metric"),
    ],
)
def test_number_of_instances(
    target: Mapping[str, Any], policy: Mapping[str, Any], count: int, rate: float, desired: int
) -> None:
    assert desired_count({**TARGET, **target}, [{**POLICY, **policy}], count, rate, NOW)[0] == desired


def test_a_variant_with_many_invocations_gets_an_instance_more(service: LocalService) -> None:
    hosted = Hosted(service)
    hosted.model("scaled", {SCRIPT: "def model_fn(model_dir): return None"})
    hosted.config("scaled", {"ModelName": "scaled"})
    hosted.endpoint("scaled", "scaled")

    def call(operation: str, **members: Any) -> dict[str, Any]:
        return service.call(operation, "application-autoscaling", **members)

    code, _ = service.error("PutScalingPolicy", "application-autoscaling", **VARIANT, PolicyName="p",
                            TargetTrackingScalingPolicyConfiguration=POLICY)  # fmt: skip
    assert code == "ObjectNotFoundException"
    call("RegisterScalableTarget", **VARIANT, MinCapacity=1, MaxCapacity=2)
    [found] = call("DescribeScalableTargets", ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 2)
    call("PutScalingPolicy", **VARIANT, PolicyName="p", PolicyType="TargetTrackingScaling",
         TargetTrackingScalingPolicyConfiguration=POLICY)  # fmt: skip
    [policy] = call("DescribeScalingPolicies", ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"] == POLICY
    for _ in range(50):
        service.state.endpoints.metrics.record(
            Invocation(endpoint="scaled", variant="AllTraffic", instances=1, status=200, model=0.01, overhead=0.001)
        )
    scale_variants(service.state)
    [variant] = hosted.settled("scaled")["ProductionVariants"]
    assert (variant["DesiredInstanceCount"], variant["CurrentInstanceCount"]) == (2, 2)
    [activity] = call("DescribeScalingActivities", ServiceNamespace="sagemaker")["ScalingActivities"]
    assert activity["Description"] == "Setting desired instance count to 2."
    call("DeleteScalingPolicy", **VARIANT, PolicyName="p")
    call("DeregisterScalableTarget", **VARIANT)
    assert call("DescribeScalableTargets", ServiceNamespace="sagemaker")["ScalableTargets"] == []
    hosted.delete("scaled")
