"""Verdicts of profiler rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clearsight_sagemaker.rules.rule_configuration import RuleConfiguration, configurations
from clearsight_sagemaker.rules.rule_status import CLEAR, RuleVerdict
from clearsight_sagemaker.training.objects import JobObjects


def judge_profiler_rules(
    request: Mapping[str, Any], objects: JobObjects, run: Path
) -> Iterator[tuple[RuleConfiguration, RuleVerdict]]:
    for rule in configurations(request):
        if rule.is_profiler:
            yield rule, RuleVerdict(status=CLEAR)
