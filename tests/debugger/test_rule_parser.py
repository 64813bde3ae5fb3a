"""Rule parser: names, parameters, SageMaker's spellings, files of the user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clearsight.core.errors import BadChoice, BadValue, NotFound
from clearsight.debugger.rule_parser import find_rule, parse_rule, select_rules
from clearsight.debugger.rules import RULES
from clearsight.debugger.storage.saved_run import SavedRun

RULE_FILE = '''
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting

class TooLoud(Rule):
    """Found when the loss is above a level."""

    level: float = setting(1.0, "highest loss that is fine", low=0)

    def needs(self):
        return Needs(points=1)

    def check(self, view):
        loss = view.scalar("loss")
        if not len(loss):
            yield self.not_enough_data(have=0)
        elif loss.values.max() > self.level:
            yield self.found(value=loss.values.max(), threshold=self.level, steps=(1, len(loss)), cause="a loud loss")
        else:
            yield self.clear()
'''


@pytest.fixture
def user_rule(tmp_path: Path) -> Path:
    """A rule of the user's own in a file."""
    path = tmp_path / "my_rule.py"
    path.write_text(RULE_FILE)
    return path


def test_all_but_the_optional_ones_by_default() -> None:
    names = {rule.name for rule in select_rules()}
    assert names == {name for name, kind in RULES if not kind.optional}
    assert {rule.name for rule in select_rules("all")} == set(RULES.names())
    assert select_rules("none") == []


def test_some_by_name_with_parameters() -> None:
    rules = select_rules("Overfit, DeadRelu(threshold_layer=70)")
    assert [rule.name for rule in rules] == ["Overfit", "DeadRelu"]


def test_a_rule_with_parameters_takes_the_place_of_the_plain_one() -> None:
    rules = {rule.name: rule for rule in select_rules("default", ["Overfit(patience=7)"])}
    assert rules["Overfit"].parameters()["patience"] == 7
    assert len(rules) == len(select_rules())


@pytest.mark.parametrize("spelling", ["LossNotDecreasing", "loss_not_decreasing", "lossnotdecreasing"])
def test_names_in_the_spellings_people_type(spelling: str) -> None:
    assert find_rule(spelling).__name__ == "LossNotDecreasing"


def test_a_name_that_only_sagemaker_uses() -> None:
    assert find_rule("StalledTrainingRule").__name__ == "StalledTraining"


def test_a_typo_gives_the_nearest() -> None:
    with pytest.raises(BadChoice, match="Did you mean Overfit"):
        select_rules("Overfitt")


def test_an_unknown_parameter_is_named() -> None:
    with pytest.raises(BadChoice, match="patience"):
        parse_rule("Overfit(patienc=3)")


@pytest.mark.parametrize("text", ["Overfit(", "Overfit(3)", "Overfit(patience=open('x'))", "Overfit(**x)", "(a=1)"])
def test_text_that_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises((BadValue, BadChoice)):
        parse_rule(text)


def test_a_rule_that_compares_gets_the_other_run(tmp_path: Path) -> None:
    lines = [{"step": i, "epoch": 1, "mode": "train", "name": "loss", "value": 1.0 / i} for i in range(1, 30)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (rule,) = select_rules("none", [f"SimilarAcrossRuns(other_trials='{tmp_path}')"])
    assert [finding.verdict for finding in rule.check(SavedRun(tmp_path).tape())] == ["found"]
    with pytest.raises(NotFound):
        select_rules("none", ["SimilarAcrossRuns(other_trials='no/such/run')"])


def test_a_file_of_the_user(user_rule: Path) -> None:
    assert [rule.name for rule in parse_rule(str(user_rule))] == ["TooLoud"]
    assert parse_rule(f"{user_rule}:TooLoud(level=3)")[0].parameters() == {"level": 3.0}


def test_a_file_without_that_rule(user_rule: Path, tmp_path: Path) -> None:
    with pytest.raises(BadChoice, match="TooLoud"):
        parse_rule(f"{user_rule}:TooLaud")
    with pytest.raises(NotFound):
        parse_rule(str(tmp_path / "nowhere.py"))
    (tmp_path / "empty.py").write_text("x = 1")
    (tmp_path / "half.py").write_text("from clearsight import Rule\nclass Half(Rule):\n    pass\n")
    with pytest.raises(BadValue, match="Half has no method check and needs"):
        parse_rule(str(tmp_path / "half.py"))
    with pytest.raises(BadValue, match="defines no rule"):
        parse_rule(str(tmp_path / "empty.py"))
    (tmp_path / "broken.py").write_text("x =")
    with pytest.raises(BadValue, match="SyntaxError"):
        parse_rule(str(tmp_path / "broken.py"))
