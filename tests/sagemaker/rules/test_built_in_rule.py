"""BuiltInRule: what a user learns of a rule with too few data, and of one that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clearsight_sagemaker.rules.built_in_rule import BuiltInRule
from clearsight_sagemaker.rules.rule_configuration import RuleConfiguration
from clearsight_sagemaker.rules.rule_status import RuleVerdict
from clearsight_sagemaker.rules.run_findings import RunFindings
from tests.sagemaker.rules.recorded import Steps, losses, read, record
from tests.sagemaker.rules.test_run_findings import run_with_losses

# What rule_configs.loss_not_decreasing() makes of a hook that asks for every second step.
OVERRIDDEN = {
    "HookParameters": {"train.save_interval": "2"},
    "CollectionConfigurations": [{"CollectionName": "losses", "CollectionParameters": {"save_interval": "500"}}],
}


def verdict(folder: Path, steps: Steps, name: str, hook: dict[str, Any], **parameters: str) -> RuleVerdict:
    values = {"RuleConfigurationName": name, "RuleParameters": {"rule_to_invoke": name, **parameters}}
    findings = RunFindings(folder / "run", [name])
    rule = BuiltInRule(RuleConfiguration.of(values, is_profiler=False), {"DebugHookConfig": hook}, findings)
    record(folder, steps)
    saved = read(folder)
    rule.check_steps(saved, saved.refresh())
    return rule.finish()


def test_one_point_names_the_interval_that_overrides_the_hook(tmp_path: Path) -> None:
    found = verdict(tmp_path, losses([2.0]), "LossNotDecreasing", OVERRIDDEN)
    assert found.status == "NoIssuesFound"
    assert "It saw 1 saved step" in found.details
    assert "(losses every 500 steps), which overrides the hook's train.save_interval=2." in found.details


def test_the_interval_of_another_rule_is_no_reason(tmp_path: Path) -> None:
    gradients = {"CollectionName": "gradients", "CollectionParameters": {"save_interval": "500"}}
    found = verdict(tmp_path, losses([2.0]), "Overfit", {**OVERRIDDEN, "CollectionConfigurations": [gradients]})
    assert found.details.startswith("Overfit had too little data to find anything. It saw ")
    assert "gradients" not in found.details


def test_losses_that_lie_too_close_to_be_compared_are_too_little_data(tmp_path: Path) -> None:
    found = verdict(tmp_path, losses([2.0] * 9), "LossNotDecreasing", {})
    assert found.status == "NoIssuesFound"
    assert "It saw no two losses of one mode that lie 10 steps apart." in found.details


def test_enough_points_need_no_explanation(tmp_path: Path) -> None:
    falling = losses([2.0 - 0.01 * n for n in range(30)])
    assert verdict(tmp_path, falling, "LossNotDecreasing", OVERRIDDEN) == RuleVerdict(status="NoIssuesFound")


def test_a_wrong_pattern_is_an_error_of_the_rule(tmp_path: Path) -> None:
    found = verdict(tmp_path, losses([2.0]), "AllZero", {}, tensor_regex="(")
    assert found.status == "Error"
    assert "regular expression (" in found.details


def test_a_rule_that_was_met_gets_what_clearsight_finds_later(tmp_path: Path) -> None:
    """SageMaker's rule is met at step 10, clearsight's needs more steps of the run."""
    findings = RunFindings(tmp_path / "run", ["LossNotDecreasing"])
    values = {"RuleConfigurationName": "Flat", "RuleParameters": {"rule_to_invoke": "LossNotDecreasing"}}
    rule = BuiltInRule(RuleConfiguration.of(values, is_profiler=False), {}, findings)
    record(tmp_path / "tensors", losses([2.0] * 11))
    saved = read(tmp_path / "tensors")
    rule.check_steps(saved, saved.refresh())
    assert rule.verdict is not None
    assert rule.verdict.status == "IssuesFound"
    assert "clearsight" not in rule.verdict.details
    assert not rule.complete()
    run_with_losses(tmp_path / "run", [2.0] * 200)
    findings.judge()
    assert rule.complete()
    assert "at step 10 " in rule.verdict.details
    assert "clearsight: " in rule.verdict.details
    assert not rule.complete()


def test_what_clearsight_finds_when_a_rule_is_met_is_in_its_details(tmp_path: Path) -> None:
    run_with_losses(tmp_path / "run", [2.0] * 200)
    found = verdict(tmp_path, losses([2.0] * 11), "LossNotDecreasing", {})
    assert found.status == "IssuesFound"
    assert "clearsight: " in found.details
